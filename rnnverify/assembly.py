"""What each tensor of a file has to hold to be the network of another: from the places of both, and from no layout."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnverify.array_code import Call, Shelf, Wanted, expression, subscript
from rnnverify.canonical import GATES, Array, Direction, Layer, Network
from rnnverify.origins import Origins
from rnnverify.weights import compare_weights

PARTS: Mapping[str, tuple[str, ...]] = {
    "kernel": ("kernel",),
    "recurrent kernel": ("recurrent_kernel",),
    "bias": ("bias_input", "bias_recurrent"),
    "peephole": ("peephole",),
    "projection": ("projection",),
}
"""What is right or wrong of a direction, as findings call it, and its tensors."""

_AXES = {"bias": 1, "peephole": 1}
"""How many axes there are to one gate of a part, where that is not two."""

_NUMBERS = list(PARTS)

Part = tuple[str, str]
"""A direction, such as `layer 0 reverse`, and which of `PARTS`."""


@dataclass(frozen=True)
class Assignment:
    """A tensor of the file, or what of it belongs to one direction, and what that is to be."""

    name: str
    subscript: str  # of what is set; empty: all of it
    value: str | Call
    holds: frozenset[Part]


@dataclass(frozen=True)
class Assembly:
    """How the tensors of a file are set, and of what that does not make the network that was wanted."""

    assignments: tuple[Assignment, ...]
    beyond: frozenset[Part]


def assemble(source: Origins, right: Network, target: Origins, wrong: Network, holder: str) -> Assembly | None:
    """How the tensors of `target`, which make the network `wrong`, are set to make `right`, which `source` holds.

    In the code `holder[name]` is an array of the source. None where the networks are not of one shape.
    """
    pairs = list(zip(right.directions(), wrong.directions(), strict=False))
    if [len(y.directions) for y in right.layers] != [len(y.directions) for y in wrong.layers] or any(
        a.cell != b.cell or x.kernel.shape != y.kernel.shape for (_, a, x), (_, b, y) in pairs
    ):
        return None
    right = _along(right, wrong)
    sums = _Sums(int(target.starts[-1]))
    for d, ((_, layer, ours), (_, _, theirs)) in enumerate(pairs):
        sides = _Side(source.directions[d], ours), _Side(target.directions[d], theirs)
        _matrices(sums, d, *sides)
        _biases(sums, d, layer, *sides)
    made = _made(target, wrong, sums.constant + sum(source.at(row) for row in sums.places))
    tensors, _ = compare_weights(right, made)
    named = {
        (where, part)
        for (_, _, ours), (where, _, theirs) in pairs
        for part, (name, *_) in PARTS.items()
        if getattr(ours, name) is not None or getattr(theirs, name) is not None
    }
    equal = {(where, part) for where, part in named if all(not t.differing for t in _of(tensors, where, part))}
    found = list(_assignments(sums, source, target, [where for _, (where, _, _) in pairs], holder))
    held = frozenset(part for each in found for part in each.holds)
    return Assembly(tuple(found), frozenset(part for part in named if part not in equal or part not in held))


def _along(right: Network, wrong: Network) -> Network:
    """`right` with directions that run as those of `wrong` do: weights are the same either way."""
    return Network(
        tuple(
            replace(
                ours,
                directions=tuple(
                    replace(d, reverse=e.reverse) for d, e in zip(ours.directions, theirs.directions, strict=True)
                ),
            )
            for ours, theirs in zip(right.layers, wrong.layers, strict=True)
        )
    )


@dataclass(frozen=True)
class _Side:
    """The places of a direction, and its numbers."""

    places: Mapping[str, Array]
    numbers: Direction

    def of(self, name: str) -> tuple[Array, Array] | None:
        """The places of a tensor, and what stands at none; None where it was computed, or is not there."""
        places, own = self.places.get(name), dict(self.numbers.tensors()).get(name)
        if places is None or own is None:
            return None
        return places, np.where(places == 0, own.astype(np.float64), 0.0)


class _Sums:
    """By place of the target: which numbers of the source are added up there, and to which direction that belongs."""

    def __init__(self, size: int) -> None:
        self.places = np.zeros((2, size), np.int64)
        self.constant = np.zeros(size)
        self.owner = np.full((2, size), -1)  # the numbers of the direction and of the part

    def put(self, at: Array, terms: Sequence[Array], constant: Array, owner: tuple[int, str]) -> None:
        """`terms` and `constant` at the places `at`, where that is one; negated where `at` is."""
        there = at != 0
        where, sign = np.abs(at[there]), np.sign(at[there])
        for row, term in zip(self.places, terms, strict=False):
            row[where] = sign * term[there]
        self.constant[where] = sign * constant[there]
        self.owner[:, where] = [[owner[0]], [_NUMBERS.index(owner[1])]]


def _matrices(sums: _Sums, d: int, source: _Side, target: _Side) -> None:
    for part, names in PARTS.items():
        ours, theirs = source.of(names[0]), target.of(names[0])
        if part != "bias" and ours and theirs and ours[0].shape == theirs[0].shape:
            sums.put(theirs[0], ours[:1], ours[1], (d, part))


def _biases(sums: _Sums, d: int, layer: Layer, source: _Side, target: _Side) -> None:
    """Each to its own place where the target has two, else their sum to the one; less what is added at run time."""
    ours, theirs = ([side.of(name) for name in PARTS["bias"]] for side in (source, target))
    if not (ours[0] and ours[1] and theirs[0] and theirs[1]):
        return
    (first, constant), (second, other) = ours[0], ours[1]
    (to_first, added), (to_second, also) = theirs[0], theirs[1]
    two = (to_first != 0) & (to_second != 0)
    if layer.cell == "gru" and layer.gating.reset_after:
        two[GATES["gru"].index("n")] = True  # its recurrent bias is inside the reset
    owner = (d, "bias")
    sums.put(np.where(two, to_first, 0), [first], constant - added, owner)
    sums.put(np.where(two, to_second, 0), [second], other - also, owner)
    one = np.where(to_first != 0, to_first, to_second)
    sums.put(np.where(two, 0, one), [first, second], constant + other - added - also, owner)


def _made(target: Origins, wrong: Network, values: Array) -> Network:
    """The network of the target with those values at its places."""
    directions = iter(target.directions)

    def changed(direction: Direction) -> Direction:
        tensors: dict[str, Any] = {}
        side = _Side(next(directions), direction)
        for name, _ in direction.tensors():
            if found := side.of(name):
                tensors[name] = np.sign(found[0]) * values[np.abs(found[0])] + found[1]
        return replace(direction, **tensors)

    layers = (replace(layer, directions=tuple(map(changed, layer.directions))) for layer in wrong.layers)
    return Network(tuple(layers))


def _of(tensors: Sequence[Any], where: str, part: str) -> Iterator[Any]:
    """The differences of one part."""
    for tensor in tensors:
        before, found, after = tensor.name.partition(f"{where} ")
        bias = part == "bias" and "bias" in after and not after.startswith("reverse")
        if not before and found and (after == part or bias):
            yield tensor


def _assignments(
    sums: _Sums, source: Origins, target: Origins, wheres: Sequence[str], holder: str
) -> Iterator[Assignment]:
    shelf = Shelf(tuple(f"{holder}[{json.dumps(name)}]" for name in source.names), source.shapes, source.starts)
    cuts = _cuts(target)
    for k, (name, shape) in enumerate(zip(target.names, target.shapes, strict=True)):
        span = slice(target.starts[k], target.starts[k + 1])
        rows = [row[span].reshape(shape) for row in (*sums.places, sums.constant, *sums.owner)]
        for d in np.unique(rows[3][rows[3] >= 0]):
            parts = [_NUMBERS[n] for n in np.unique(rows[4][rows[3] == d])]
            window = [(int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(rows[3] == d)]
            more = len(shape) - max(_AXES.get(part, 2) for part in parts)  # axes of directions, or of both biases
            alone = [axis for axis, (start, end) in enumerate(window) if end - start == 1][: max(more, 0)]
            cut = tuple(slice(*both) for both in window)
            first, second, constant = (row[cut].squeeze(tuple(alone)) for row in rows[:3])
            wanted = Wanted((first, second), constant, target.dtypes[k])
            inner = [
                [at - start for at in cuts[k][axis] if start < at < end]
                for axis, (start, end) in enumerate(window)
                if axis not in alone
            ]
            if (value := expression(wanted, inner, shelf)) is not None:
                said = subscript(window, alone, shape)
                yield Assignment(name, said, value, frozenset((wheres[d], part) for part in parts))


def _cuts(target: Origins) -> list[list[set[int]]]:
    """For each axis of each tensor, where one gate ends and another begins."""
    cuts: list[list[set[int]]] = [[set() for _ in shape] for shape in target.shapes]
    for direction in target.directions:
        for name, places in direction.items():
            for gate in places[None] if name == "projection" else places:
                held = np.abs(gate[gate != 0])
                holders = np.searchsorted(target.starts, held, side="right") - 1
                for k in np.unique(holders):
                    index = np.unravel_index(held[holders == k] - target.starts[k], target.shapes[k])
                    for axis, found in enumerate(index):
                        cuts[k][axis] |= {int(found.min()), int(found.max()) + 1}
    return cuts
