"""What each tensor of a file has to hold to be the network of another: from the places of both, and from no layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify.canonical import GATES, Array, Direction, Layer, Network
from rnnverify.porting.array_code import Call, Shelf, Wanted, expression, quoted, subscript
from rnnverify.porting.origins import Origins
from rnnverify.weights import compare_biases

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
    sums = _Sums(int(target.starts[-1]))
    halves = [
        _Half(where, (layer, other), _Side(source, d, ours), _Side(target, d, theirs))
        for d, ((_, layer, ours), (where, other, theirs)) in enumerate(pairs)
    ]
    for d, half in enumerate(halves):
        for part in PARTS:
            _put(sums, half, d, part)
    found = list(_assignments(sums, source, target, [half.where for half in halves], holder))
    held = frozenset(part for each in found for part in each.holds)
    beyond = (
        (half.where, part)
        for half in halves
        for part in PARTS
        if half.has(part) and not ((half.where, part) in held | half.none and _fits(sums, half, part))
    )
    return Assembly(tuple(found), frozenset(beyond))


@dataclass(frozen=True)
class _Side:
    """A direction of one file."""

    origins: Origins
    number: int
    numbers: Direction

    def places(self, name: str) -> Array | None:
        """Those of a tensor; None where it was computed, or is not there."""
        return self.origins.directions[self.number].get(name)

    def biases(self) -> tuple[tuple[Array, Array], tuple[Array, Array]] | None:
        """The places of the two biases (G, H), and what stands at none: zeros, or what is added at run time."""
        found = []
        for name in PARTS["bias"]:
            if (places := self.places(name)) is None:
                return None
            found.append((places, np.where(places == 0, getattr(self.numbers, name).astype(np.float64), 0.0)))
        return found[0], found[1]


@dataclass(frozen=True)
class _Half:
    """A direction of both files."""

    where: str
    layers: tuple[Layer, Layer]
    source: _Side
    target: _Side

    def has(self, part: str) -> bool:
        """Whether one of both has such weights."""
        name = PARTS[part][0]
        return any(getattr(side.numbers, name) is not None for side in (self.source, self.target))

    @property
    def none(self) -> frozenset[Part]:
        """What needs no line: a bias that is not there, as long as it is to be zeros."""
        return frozenset() if self.target.numbers.has_bias else frozenset({(self.where, "bias")})

    @property
    def apart(self) -> bool:
        """Whether the two biases of the candidate are two: a GRU resets the recurrent one."""
        return self.layers[0].cell == "gru" and self.layers[0].gating.reset_after


class _Sums:
    """By place of the target: which numbers of the source are added up there, and what of which direction that is."""

    def __init__(self, size: int) -> None:
        self.places = np.zeros((2, size), np.int64)
        self.constant = np.zeros(size)
        self.owner = np.zeros(size, np.int32)  # the direction and the part as one number; 0: neither

    def put(self, at: Array, terms: Sequence[Array], constant: Array | float, owner: int) -> None:
        """`terms` and `constant` at the places `at`, where that is one; negated where `at` is."""
        if at.min() <= 0:
            there = at != 0
            sign, at = np.sign(at[there]), np.abs(at[there])
            terms = [sign * term[there] for term in terms]
            constant = sign * np.broadcast_to(constant, there.shape)[there]
        for row, term in zip(self.places, terms, strict=False):
            row[at] = term
        if np.any(constant):
            self.constant[at] = constant
        self.owner[at] = owner

    def at(self, places: Array, values: Origins) -> Array:
        """float64: what stands at `places` of the target, negated where these are."""
        rows = (values.at(row[np.abs(places)]).astype(np.float64) for row in self.places)
        return np.asarray(np.sign(places) * (self.constant[np.abs(places)] + sum(rows)))


def _put(sums: _Sums, half: _Half, d: int, part: str) -> None:
    owner = d * len(_NUMBERS) + _NUMBERS.index(part) + 1
    if part == "bias":
        _put_biases(sums, half, owner)
        return
    ours, theirs = (side.places(PARTS[part][0]) for side in (half.source, half.target))
    if ours is not None and theirs is not None and ours.shape == theirs.shape:
        sums.put(theirs, [ours], 0.0, owner)


def _put_biases(sums: _Sums, half: _Half, owner: int) -> None:
    """Each to its own place where the target has two, else their sum to the one; less what is added at run time."""
    ours, theirs = half.source.biases(), half.target.biases()
    if ours is None or theirs is None:
        return
    (first, constant), (second, other) = ours
    (to_first, added), (to_second, also) = theirs
    two = (to_first != 0) & (to_second != 0)
    if half.apart:
        two[GATES["gru"].index("n")] = True
    sums.put(np.where(two, to_first, 0), [first], constant - added, owner)
    sums.put(np.where(two, to_second, 0), [second], other - also, owner)
    one = np.where(to_first != 0, to_first, to_second)
    sums.put(np.where(two, 0, one), [first, second], constant + other - added - also, owner)


def _fits(sums: _Sums, half: _Half, part: str) -> bool:
    """Whether that part comes out as it is to be: tied gates can not be set apart, nor biases that are not there."""
    if part == "bias":
        theirs = half.target.biases()
        if theirs is None or half.source.biases() is None:
            return False
        made = [sums.at(places, half.source.origins) + added for places, added in theirs]
        other = replace(half.target.numbers, bias_input=made[0], bias_recurrent=made[1])
        split = half.apart and half.layers[1].gating.reset_after
        return not any(tensor.differing for tensor in compare_biases("", half.source.numbers, other, split))
    ours, places = (side.places(PARTS[part][0]) for side in (half.source, half.target))
    if ours is None or places is None or ours.shape != places.shape:
        return False
    return np.array_equal(np.sign(places) * sums.places[0][np.abs(places)], ours)


def _assignments(
    sums: _Sums, source: Origins, target: Origins, wheres: Sequence[str], holder: str
) -> Iterator[Assignment]:
    shelf = Shelf(tuple(f"{holder}[{quoted(name)}]" for name in source.names), source.shapes, source.starts)
    cuts = _cuts(target)
    for k, (name, shape) in enumerate(zip(target.names, target.shapes, strict=True)):
        span = slice(target.starts[k], target.starts[k + 1])
        owner, *rows = (row[span].reshape(shape) for row in (sums.owner, *sums.places, sums.constant))
        owners = [int(each) - 1 for each in np.unique(owner) if each]
        for d in sorted({each // len(_NUMBERS) for each in owners}):
            parts = [_NUMBERS[each % len(_NUMBERS)] for each in owners if each // len(_NUMBERS) == d]
            mine = (owner > d * len(_NUMBERS)) & (owner <= (d + 1) * len(_NUMBERS))
            window = [_span(mine.any(axis=tuple(set(range(len(shape))) - {axis}))) for axis in range(len(shape))]
            more = len(shape) - max(_AXES.get(part, 2) for part in parts)  # axes of directions, or of both biases
            alone = [axis for axis, (start, end) in enumerate(window) if end - start == 1][: max(more, 0)]
            cut = tuple(slice(*both) for both in window)
            first, second, constant = (row[cut].squeeze(tuple(alone)) for row in rows)
            wanted = Wanted((first, second) if "bias" in parts else (first,), constant, target.dtypes[k])
            inner = [
                [at - start for at in cuts[k][axis] if start < at < end]
                for axis, (start, end) in enumerate(window)
                if axis not in alone
            ]
            if (value := expression(wanted, inner, shelf)) is not None:
                said = subscript(window, alone, shape)
                yield Assignment(name, said, value, frozenset((wheres[d], part) for part in parts))


def _span(there: Array) -> tuple[int, int]:
    """From the first place that is true to the one behind the last."""
    found = np.flatnonzero(there)
    return int(found[0]), int(found[-1]) + 1


def _cuts(target: Origins) -> list[list[set[int]]]:
    """For each axis of each tensor, where one gate ends and another begins."""
    cuts: list[list[set[int]]] = [[set() for _ in shape] for shape in target.shapes]
    for direction in target.directions:
        for name, places in direction.items():
            for gate in places[None] if name == "projection" else places:
                held = np.abs(gate if gate.ndim == 1 else np.concatenate([gate[0], gate[-1], gate[:, 0], gate[:, -1]]))
                held = held[held != 0]  # its edges say where it ends
                holders = np.searchsorted(target.starts, held, side="right") - 1
                for k in np.unique(holders):
                    index = np.unravel_index(held[holders == k] - target.starts[k], target.shapes[k])
                    for axis, found in enumerate(index):
                        cuts[k][axis] |= {int(found.min()), int(found.max()) + 1}
    return cuts
