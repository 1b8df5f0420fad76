"""Cells with gates: the weights that explain what their steps are off by, found by regression and fitted.

Every recorded step is h' = F(x, h; weights), the cell state of an LSTM followed from h. With what the known weights
leave of it, y, and the slope f of F for one weight (`cells.sensitivity`), in units of what rounding allows,

    a weight alone explains   sum(f y)^2 / sum(f f)   of   sum(y y)

Those that explain most are fitted by the Gauss-Newton method, as a change need not be small, and the best one is kept;
what it leaves is searched again. Weights are named only if, changed so, rounding explains every step of every run, and
if no other weight fits nearly as well: correct runs, and mistakes of another kind, name none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from rnnverify.canonical import GATE_NAMES, GATES, PEEPHOLES, Array, Direction
from rnnverify.cells.sensitivity import Sensitivity, sensitivity
from rnnverify.recorded import Steps
from rnnverify.suspects.gated_steps import explained, recorded
from rnnverify.suspects.suspect import FEW, SCORE, Suspect

_TRIED = 8  # weights that are fitted at each turn: the linear regression ranks large changes roughly
_ROUNDS = 12  # of Gauss-Newton at most
_SHORTER = (1.0, 0.5, 0.25, 0.1)  # steps that are tried in each
_PRODUCTS = 2**28  # of one evaluation; of long runs the first steps are fitted
_LEAST_STEPS = 256


class _Weight(NamedTuple):
    channel: int
    row: int
    unit: int


Offs = Mapping[_Weight, float]
"""What each weight is off by."""


def of_direction(group: Sequence[Steps], dtype: str) -> Iterator[Suspect | None]:
    """The suspects of one direction in all runs; None where no few weights explain the residuals."""
    if explained(group, group[0].direction, dtype):
        return
    fits = _Fits(group, dtype)
    found = fits.search()
    if found is None:
        yield None
        return
    for weight, off in found.items():
        yield _named(group[0], *fits.place(weight), off)


class _Fits:
    """Fits of a few weights to the steps of one direction."""

    def __init__(self, group: Sequence[Steps], dtype: str) -> None:
        self._group, self._dtype = group, dtype
        self._layer = group[0].layer
        self._known = group[0].direction.mapped(lambda array: array.astype(np.float64))
        each = self._known.kernel[:, 0].size * (self._known.input_size + self._known.state_size)
        steps = max(_LEAST_STEPS, _PRODUCTS // each) // len(group)
        lengths = [min(run.h.shape[1], max(1, steps // len(run.h))) for run in group]
        self._runs = [recorded(run, length, dtype) for run, length in zip(group, lengths, strict=True)]
        self._count = sum(int(np.isfinite(run.allowed).sum()) for run in self._runs)
        self._channels = self._at({})[0][1] if self._count else ()

    def search(self) -> dict[_Weight, float] | None:
        """The weights that are off, and by how much; None where no few are."""
        most = min(FEW, max(1, self._known.state_size // 4))  # in a small layer any mistake moves few weights
        fitted: dict[_Weight, float] = {}
        for _ in range(most):
            ways = sorted((self._fit({**fitted, w: 0.0}) for w in self._likely(fitted)), key=lambda way: way[1])
            if not ways:
                return None
            fitted, left = ways[0]
            if explained(self._group, self.changed(fitted), self._dtype):
                clear = all(other - left > SCORE**2 * left / self._count for _, other in ways[1:])
                return fitted if clear and self._all_needed(fitted, left) else None
        return None

    def changed(self, offs: Offs) -> Direction:
        """The known weights, changed so."""
        tensors: dict[str, Array] = {}
        for weight, off in offs.items():
            name, index = self.place(weight)
            tensor = tensors.setdefault(name, getattr(self._known, name).copy())
            tensor[index] += off
        return replace(self._known, **tensors)  # type: ignore[arg-type]  # tensors of its own, by their names

    def place(self, weight: _Weight) -> tuple[str, tuple[int, ...]]:
        """The field of `Direction` that a weight is in, and where."""
        return self._channels[weight.channel].place(weight.row, weight.unit)

    def _at(self, offs: Offs) -> list[Sensitivity]:
        """Of every run, what the weights changed so make of its steps."""
        direction = self.changed(offs) if offs else self._known
        return [sensitivity(self._layer, direction, run.x, run.before, run.c0) for run in self._runs]

    def _residuals(self, found: Sequence[Sensitivity]) -> list[Array]:
        """What is left of every run, in units of what rounding allows; 0 where nothing is known."""
        known = [np.isfinite(run.allowed) for run in self._runs]
        pairs = zip(self._runs, found, known, strict=True)
        return [np.where(where, (run.h - h) / run.allowed, 0.0) for run, (h, _), where in pairs]

    def _likely(self, offs: Offs) -> list[_Weight]:
        """The weights that, beside those of `offs`, explain most to first order, the likeliest first."""
        found = self._at(offs)
        left = self._residuals(found)
        beyond = np.flatnonzero(np.any([(np.abs(each) > 1).any(axis=(0, 1)) for each in left], axis=0))
        best: list[tuple[float, _Weight]] = []
        for k, channel in enumerate(self._channels):
            units = beyond if channel.mix is None else np.arange(channel.gain.shape[2])
            if channel.mix is None and len(units) > FEW:
                continue  # each of these weights moves one of them
            sums = np.zeros((2, channel.inputs.shape[2], len(units)))
            for run, residual, (_, channels) in zip(self._runs, left, found, strict=True):
                sums += channels[k].regressed(units, residual * run.allowed, run.allowed**-2.0)
            explains = np.nan_to_num(np.where(sums[1] > 0, sums[0] ** 2 / sums[1], 0.0))
            for at in np.argsort(explains, axis=None)[-_TRIED - len(offs) :]:
                row, j = np.unravel_index(int(at), explains.shape)
                if explains[row, j] > 0:
                    best.append((float(explains[row, j]), _Weight(k, int(row), int(units[j]))))
        ranked = [weight for _, weight in sorted(best, reverse=True) if weight not in offs]
        return ranked[:_TRIED]

    def _fit(self, offs: Offs) -> tuple[dict[_Weight, float], float]:
        """The values of `offs` that leave least, from the given ones on, and the sum of squares that they leave."""
        names, values = list(offs), np.array(list(offs.values()))
        found = self._at(offs)
        left = self._residuals(found)
        size = _squares(left)
        for _ in range(_ROUNDS):
            step = self._step(names, found, left)
            for share in _SHORTER:
                tried = values + share * step
                found = self._at(dict(zip(names, tried, strict=True)))
                left = self._residuals(found)
                if _squares(left) < size:
                    break
            else:
                break
            values, gained, size = tried, size - _squares(left), _squares(left)
            if gained < 1e-6 * size:
                break
        return dict(zip(names, values.tolist(), strict=True)), size

    def _step(self, names: Sequence[_Weight], found: Sequence[Sensitivity], left: Sequence[Array]) -> Array:
        columns = self._columns(names, found)
        return np.asarray(np.linalg.lstsq(columns, np.concatenate([each.ravel() for each in left]), rcond=None)[0])

    def _columns(self, names: Sequence[_Weight], found: Sequence[Sensitivity]) -> Array:
        """What each weight moves, in units of what rounding allows (N, weights)."""
        whole = []
        for run, (_, channels) in zip(self._runs, found, strict=True):
            moved = [channels[w.channel].moved(w.row, w.unit) / run.allowed for w in names]
            whole.append(np.stack([np.nan_to_num(each.ravel()) for each in moved], axis=1))
        return np.concatenate(whole)

    def _all_needed(self, offs: Offs, left: float) -> bool:
        """Whether without any of the weights much more would be left than `left`."""
        columns = self._columns(list(offs), self._at(offs))
        spread = np.diag(np.linalg.pinv(columns.T @ columns)) * left / self._count
        return all(off**2 > SCORE**2 * each for off, each in zip(offs.values(), spread, strict=True))


def _squares(parts: Sequence[Array]) -> float:
    total = sum(float((part**2).sum()) for part in parts)
    return total if np.isfinite(total) else np.inf


_WORDS = {"bias_input": "bias", "bias_recurrent": "recurrent bias"}


def _named(steps: Steps, tensor: str, index: tuple[int, ...], off_by: float) -> Suspect:
    known = getattr(steps.direction, tensor)[index]
    if tensor == "projection":
        return Suspect(steps.where, tensor, index, off_by, float(known))
    cell = steps.layer.cell
    gate = GATES[cell].index(PEEPHOLES[index[0]]) if tensor == "peephole" else index[0]
    summed = tensor == "bias_input" and not (cell == "gru" and gate == 2 and steps.layer.gating.reset_after)
    known = steps.direction.bias[index] if summed else known
    where = f"the {GATE_NAMES[cell][gate]} of {steps.where}"
    return Suspect(where, _WORDS.get(tensor, tensor.replace("_", " ")), index[1:], off_by, float(known))
