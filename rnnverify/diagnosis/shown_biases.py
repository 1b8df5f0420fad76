"""The biases that recorded steps show of a cell with gates, where every other weight is known.

A few numbers for each unit are fitted, by the method of Levenberg and Marquardt, to what the cell makes of the recorded
states before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.cells.sensitivity import Sensitivity, sensitivity
from rnnverify.recorded import Steps, recorded_steps
from rnnverify.suspects.gated_steps import Recorded, recorded
from rnnverify.trace import Run

_STEPS = 240  # of all runs together, at most
_MANY = 600  # biases, beyond which the fit is slow
_ROUNDS = 30
_NEAR = 4.0  # times what rounding allows: what is stored is rounded, and whether it explains all is asked elsewhere


def shown_biases(network: Network, runs: Sequence[Run], dtype: str, k: int) -> Direction | None:
    """Direction k of `network`, counted as `Network.directions` does, with the biases that `runs` show.

    None where its states were not recorded, or no biases lead to them.
    """
    _, layer, known = list(network.directions())[k]
    group = [steps for run in runs if (steps := _direction(network, run, dtype, k))]
    if known.bias.size > _MANY or not group or len(group) < len(runs):
        return None
    for start in _starts(layer, known.mapped(lambda array: array.astype(np.float64))):
        found, _ = _from(layer, start, _first_steps(group, dtype, start))
        found, left = _from(layer, found, _first_steps(group, dtype, found))  # what rounding allows is known better now
        if (np.abs(left) <= _NEAR).all():
            kept = known.bias_input.dtype
            one, other = found.bias_input.astype(kept), found.bias_recurrent.astype(kept)
            return replace(known, bias_input=one, bias_recurrent=other)
    return None


def _direction(network: Network, run: Run, dtype: str, k: int) -> Steps | None:
    every = list(recorded_steps(network, run, dtype))
    return every[k] if k < len(every) else None


def _first_steps(group: Sequence[Steps], dtype: str, direction: Direction) -> list[Recorded]:
    lengths = [min(each.h.shape[1], max(1, _STEPS // (len(group) * len(each.h)))) for each in group]
    return [recorded(each, length, dtype, direction) for each, length in zip(group, lengths, strict=True)]


def _starts(layer: Layer, known: Direction) -> Iterator[Direction]:
    """The biases that are known, and none, each added up where the sum alone counts."""
    summed, nothing = known.bias, np.zeros_like(known.bias)
    inner = nothing.copy()
    if layer.cell == "gru" and layer.gating.reset_after:  # the candidate has one inside its reset gate
        summed[2], inner[2] = known.bias_input[2], known.bias_recurrent[2]
    if summed.any() or inner.any():
        yield replace(known, bias_input=summed, bias_recurrent=inner)
    yield replace(known, bias_input=nothing, bias_recurrent=nothing)


def _from(layer: Layer, direction: Direction, parts: Sequence[Recorded]) -> tuple[Direction, Array]:
    """The biases that leave least, from those of `direction` on, and what they leave (N, P)."""
    found = _at(layer, direction, parts)
    left = _left(parts, found)
    apart = all(channel.mix is None for _, channels in found for channel in channels)
    damping = np.full(left.shape[1] if apart else 1, 1e-3)  # where no unit moves another, each has its own
    for _ in range(_ROUNDS):
        columns, places = _columns(parts, found)
        of_unit = np.array([index[-1] for _, index in places]) if apart else np.zeros(len(places), int)
        step = np.clip(_step(columns, left, damping[of_unit]), -1, 1)
        made = _at(layer, _moved(direction, places, step), parts)
        less = _squares(_left(parts, made), apart)
        better = less < _squares(left, apart)
        if not better.any() and damping.min() > 1e6:
            break
        gained = _squares(left, apart) - less
        direction = _moved(direction, places, np.where(better[of_unit], step, 0.0))
        found = _at(layer, direction, parts)
        left = _left(parts, found)
        damping = np.where(better, damping / 10, damping * 10)
        if (better & (gained < 1e-3 * less)).all():
            break
    return direction, left


def _step(columns: Array, left: Array, damping: Array) -> Array:
    """Of Gauss and Newton, shortened by `damping` where the fit is far from linear (Levenberg and Marquardt)."""
    gram = columns.T @ columns
    gram[np.diag_indices_from(gram)] *= 1 + damping
    solved = np.linalg.lstsq(gram, columns.T @ left.ravel(), rcond=None)[0] if np.isfinite(gram).all() else 0 * damping
    return np.asarray(solved)


def _at(layer: Layer, direction: Direction, parts: Sequence[Recorded]) -> list[Sensitivity]:
    return [sensitivity(layer, direction, part.x, part.before, part.c0) for part in parts]


def _left(parts: Sequence[Recorded], found: Sequence[Sensitivity]) -> Array:
    """What is left of every state (N, P), in units of what rounding allows."""
    both = zip(parts, found, strict=True)
    left = [np.where(np.isfinite(part.allowed), (part.h - h) / part.allowed, 0.0) for part, (h, _) in both]
    return np.concatenate([each.reshape(-1, each.shape[2]) for each in left])


def _columns(
    parts: Sequence[Recorded], found: Sequence[Sensitivity]
) -> tuple[Array, list[tuple[str, tuple[int, ...]]]]:
    """What each bias moves (N, biases), in the same units, and where it stands."""
    whole = []
    places: list[tuple[str, tuple[int, ...]]] = []
    for part, (_, channels) in zip(parts, found, strict=True):
        biased = [channel for channel in channels if channel.tensors[-1][0].startswith("bias")]
        last = [(channel, channel.inputs.shape[2] - 1) for channel in biased]  # their inputs end with 1
        every = [(channel, row, unit) for channel, row in last for unit in range(channel.gain.shape[2])]
        moved = [np.nan_to_num((channel.moved(row, unit) / part.allowed).ravel()) for channel, row, unit in every]
        whole.append(np.stack(moved, axis=1))
        places = [channel.place(row, unit) for channel, row, unit in every]
    return np.concatenate(whole), places


def _moved(direction: Direction, places: Sequence[tuple[str, tuple[int, ...]]], step: Array) -> Direction:
    tensors = {"bias_input": direction.bias_input.copy(), "bias_recurrent": direction.bias_recurrent.copy()}
    for (name, index), by in zip(places, step, strict=True):
        tensors[name][index] += by
    return replace(direction, **tensors)


def _squares(left: Array, apart: bool) -> Array:
    """Of each unit (P,), or of all together (1,)."""
    of_units = (left**2).sum(axis=0)
    return np.asarray(np.nan_to_num(of_units if apart else of_units.sum(keepdims=True), nan=np.inf))
