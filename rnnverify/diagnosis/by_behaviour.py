"""A side that is known by what it did: steps that a network's rounding explains are accounted for.

Each direction is judged by itself, on a few recorded steps from the recorded states before them, so that a mistake in
one layer does not hide one in another, and trying a mistake costs next to nothing. What passes is held against all
steps. Where a stack recorded its outputs only, the deviation of the whole run on a few sequences stands in.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify import reference
from rnnverify.activations import activation as activation_of
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.deviation import UNIT
from rnnverify.diagnosis.few_steps import LOOSE, explained, few_steps
from rnnverify.diagnosis.hypothesis import Place, side_by_side
from rnnverify.recorded import Steps, states_of
from rnnverify.rounding import explains
from rnnverify.step import Step
from rnnverify.trace import PROBE, Run

_ROWS, _UNITS = 12, 24  # of each run, of each direction

Terms = tuple[Array, Array]
"""x and h before the step (n, I+H), and the state after it (n, H)."""


@dataclass(frozen=True)
class Behaviour:
    """Recorded runs, and the dtype whose rounding they may hold."""

    runs: tuple[Run, ...]
    dtype: str
    _known: dict[object, list[Terms] | None]
    _gated: dict[object, list[list[Steps]] | None]

    @staticmethod
    def of(runs: Sequence[Run], dtype: str) -> Behaviour:
        return Behaviour(tuple(runs), dtype, {}, {})

    def shows_steps(self, network: Network) -> bool:
        """Whether every state that `network` computes was recorded."""
        return all(recorded(network, run) is not None for run in self.runs)

    def parts(self, network: Network, close: bool = False) -> Iterator[tuple[Place | None, bool]]:
        """Which directions of `network` explain the few steps looked at; or whether the whole run is close.

        With `close`, steps may be off as they are after weights are rounded to fewer digits.
        """
        gated = any(layer.cell != "rnn" for layer in network.layers)
        terms = None if gated else self._terms(network)
        steps = self._steps(network) if gated else None
        if terms is None and steps is None:
            yield None, self._is_close(network, self._few(network), LOOSE if close else UNIT[self.dtype])
            return
        for (place, d, _), each in zip(side_by_side(network, network), steps or (), strict=False):
            yield place, explained(network.layers[place[0]], d, each, self.dtype, LOOSE if close else 0.0)
        for (place, d, _), some in zip(side_by_side(network, network), terms or (), strict=False):
            yield place, _explains(network.layers[place[0]], d, some, "" if close else self.dtype)
        yield None, self._merges(network)

    def proves(self, network: Network) -> bool:
        """Whether rounding explains every step; where they were not recorded, whether all outputs are close."""
        if self.shows_steps(network):
            return all(explains(network, run, self.dtype) for run in self.runs)
        return self._is_close(network, self.runs, UNIT[self.dtype])

    def deviation(self, network: Network) -> float | None:
        """The largest difference of the outputs (B, T, F) to those of `network`; None where it is not finite."""
        found = [_largest(network, run) for run in self.runs if run.batch.name != PROBE]
        return max(found) if found and np.isfinite(found).all() else None

    @property
    def spread(self) -> float:
        """The standard deviation of the outputs."""
        return max((float(np.std(run.y)) for run in self.runs if run.batch.name != PROBE), default=0.0)

    def distance(self, network: Network) -> float:
        """Of the outputs of a part of the runs to those of `network`."""
        return sum(_largest(network, run) for run in self._few(network))

    def _few(self, network: Network) -> tuple[Run, ...]:
        """A sequence or two of each run; a few steps of them where no direction begins at the last."""
        whole = any(d.reverse for _, _, d in network.directions())
        steps = slice(None) if whole else slice(0, 6)
        return tuple(part(run, slice(0, 2), steps) for run in self.runs if run.batch.name != PROBE)

    def _is_close(self, network: Network, runs: Sequence[Run], unit: float) -> bool:
        for run in runs:
            size = max(1.0, float(np.max(np.abs(run.y))))
            if not _largest(network, run) <= unit * size:
                return False
        return bool(runs)

    def _merges(self, network: Network) -> bool:
        """Whether the outputs are the states of the top layer, merged as `network` does."""
        top = network.layers[-1]
        if not top.bidirectional or top.merge == "concat":
            return True
        for run in self.runs:
            states = recorded(network, run)
            if states is None:
                return False
            forward, reverse = (s[:2, :8].astype(np.float64) for s in states[-2:])
            y = run.y[:2, :8].astype(np.float64)
            reach = 4 * UNIT[self.dtype] * (np.abs(forward) + np.abs(reverse))
            if not np.all(np.abs(reference.merge(top.merge, [forward, reverse]) - y) <= reach):
                return False
        return True

    def _terms(self, network: Network) -> list[Terms] | None:
        """A few steps of each direction; they depend on the order in which the layers run, not on the weights."""
        key = _way(network)
        if key not in self._known:
            self._known[key] = _gathered(network, self.runs)
        return self._known[key]

    def _steps(self, network: Network) -> list[list[Steps]] | None:
        """The same of a network with gates."""
        key = _way(network)
        if key not in self._gated:
            self._gated[key] = few_steps(network, self.runs, self.dtype)
        return self._gated[key]


def _way(network: Network) -> object:
    """The order in which the layers of `network` run."""
    layers = network.layers
    facts = tuple((len(one.directions), one.merge, one.time_restored, one.hidden_size) for one in layers)
    return facts, tuple(d.reverse for _, _, d in network.directions())


def changed(before: Network, after: Network) -> set[Hashable]:
    """The directions that a mistake changed."""
    found: set[Hashable] = set()
    for k, (ours, theirs) in enumerate(zip(before.layers, after.layers, strict=True)):
        same = (ours.formula, ours.merge) == (theirs.formula, theirs.merge)
        for j, (a, b) in enumerate(zip(ours.directions, theirs.directions, strict=True)):
            turned = a.reverse and ours.time_restored != theirs.time_restored
            if a is not b or turned or not same:
                found.add((k, j))
    return found


def finite_part(network: Network, run: Run) -> Run | None:
    """The steps before the first that is not finite; None where there are none, or a direction begins at the last."""
    fine = np.isfinite(run.y).all(axis=(0, 2))
    for states in run.states:
        fine &= np.isfinite(states).all(axis=(0, 2))
    if fine.all():
        return run
    steps = slice(0, int(np.argmin(fine)))
    if steps.stop == 0 or any(d.reverse for _, _, d in network.directions()):
        return None
    return replace(part(run, slice(None), steps), states=tuple(states[:, steps] for states in run.states))


def part(run: Run, sequences: slice, steps: slice) -> Run:
    """The outputs of some sequences and steps of a run."""
    return Run(run.batch.of(sequences, steps), run.y[sequences, steps])


def recorded(network: Network, run: Run) -> list[Array] | None:
    """The states (B, T, H) of every direction as emitted; None where one was not recorded."""
    found = list(states_of(network, run))
    wanted = [(*run.y.shape[:2], d.state_size) for _, _, d in network.directions()]
    return found if [s.shape for s in found] == wanted else None


def _largest(network: Network, run: Run) -> float:
    (computed,) = reference.run(network, [run.batch]).runs.values()
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.max(np.abs(computed.y - run.y)))


def _gathered(network: Network, runs: Sequence[Run]) -> list[Terms] | None:
    per_run = [_of_run(network, run) for run in runs]
    if any(each is None for each in per_run):
        return None
    joined = zip(*(each for each in per_run if each is not None), strict=True)
    return [(np.concatenate([x for x, _ in some]), np.concatenate([h for _, h in some])) for some in joined]


def _of_run(network: Network, run: Run) -> list[Terms] | None:
    B, T = run.batch.x.shape[:2]
    picked = np.random.default_rng(0).choice(B * T, min(B * T, _ROWS), replace=False)
    return steps_at(network, run, *np.unravel_index(np.append(picked, 0), (B, T)))  # the very first is among them


def steps_at(network: Network, run: Run, b: Array, t: Array) -> list[Terms] | None:
    """For each direction its steps t (n,) of sequences b (n,), in the order of processing, from recorded states.

    None where some were not recorded.
    """
    states = recorded(network, run)
    if states is None:
        return None
    given = iter(states)
    h0 = iter(run.batch.h0 or ())
    x = run.batch.x
    found = []
    for layer in network.layers:
        parts = []
        for d in layer.directions:
            emitted = next(given)
            h = emitted[:, ::-1] if d.reverse and layer.time_restored else emitted
            seen = x[:, ::-1] if d.reverse else x
            first = next(h0, None)
            start = np.zeros((len(x), d.state_size)) if first is None else first
            before = np.where((t > 0)[:, None], h[b, t - 1], start[b])
            terms = np.concatenate([seen[b, t].astype(h.dtype), before], axis=1)
            found.append((terms.astype(np.float64), h[b, t].astype(np.float64)))
            parts.append(emitted)
        x = parts[0] if len(parts) == 1 else reference.merge(layer.merge, parts).astype(parts[0].dtype)
    return found


def _explains(layer: Layer, d: Direction, some: Terms, dtype: str) -> bool:
    """Whether rounding to `dtype` explains a few units after each of the steps; without one a rough look does."""
    terms, h = some
    H = d.hidden_size
    if terms.shape[1] != d.input_size + H or h.shape[1] != H:
        return False
    units = slice(0, H, -(-H // _UNITS))
    weights = np.concatenate([d.kernel[0][:, units], d.recurrent_kernel[0][:, units]]).astype(np.float64)
    bias, wanted = d.bias[0][units], h[:, units]
    with np.errstate(over="ignore", invalid="ignore"):
        rough = np.abs(activation_of(layer.activation)(terms @ weights + bias) - wanted)
        if not np.all(rough <= LOOSE * np.maximum(1, np.abs(wanted))):
            return False
        if not dtype:
            return True
        step = Step(layer.activation, weights, bias, d.bias_magnitude[0][units], dtype)
        _, beyond, _ = step.judge(terms[:, None], wanted[:, None])
    return not beyond.any()
