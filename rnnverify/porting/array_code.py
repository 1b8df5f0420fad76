"""NumPy expressions that put an array together from arrays of a file: slices, turned, side by side, added up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rnnverify.canonical import Array

_WIDE = 100  # columns; a longer call has its arguments on lines of their own


@dataclass(frozen=True)
class Shelf:
    """Arrays one after another, their numbers counted from 1 on, each with the expression for it."""

    texts: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    starts: Array  # (arrays + 1,) int64: the first place of each, and of what would follow


@dataclass(frozen=True)
class Wanted:
    """An array by what its numbers are: each the sum of some numbers of a shelf, and of a constant."""

    places: tuple[Array, ...]  # int64, each of the array's shape: negative where negated, 0 where nothing is added
    constant: Array  # float64, of that shape
    dtype: str  # of what is no number of the shelf

    def part(self, window: tuple[slice | int, ...]) -> Wanted:
        return Wanted(tuple(each[window] for each in self.places), self.constant[window], self.dtype)


@dataclass(frozen=True)
class Call:
    """An expression with arguments."""

    head: str
    arguments: tuple[str | Call, ...]
    tail: str

    def lines(self, indent: str = "") -> Iterator[str]:
        """On one line where it fits, else with a line for each argument."""
        (first, *more) = self.arguments
        if isinstance(first, Call) and not more:
            yield from Call(self.head + first.head, first.arguments, first.tail + self.tail).lines(indent)
        elif not more or len(indent + str(self)) <= _WIDE:
            yield indent + str(self)
        else:
            yield indent + self.head
            for each in self.arguments:
                inner = list(each.lines(indent + "    ")) if isinstance(each, Call) else [f"{indent}    {each}"]
                yield from (*inner[:-1], f"{inner[-1]},")
            yield indent + self.tail

    def __str__(self) -> str:
        return self.head + ", ".join(map(str, self.arguments)) + self.tail


def quoted(name: str) -> str:
    """A name as a string of Python, on one line and in ASCII."""
    return json.dumps(name) if name.isascii() else ascii(name)


def expression(wanted: Wanted, cuts: Sequence[Sequence[int]], shelf: Shelf) -> str | Call | None:
    """An expression for `wanted`, of one axis or two, from the arrays of `shelf`; None where there is none.

    `cuts` are places along each axis at which it may be put together from parts, beside those at which one array ends
    and another begins.
    """
    if (whole := _single(wanted, shelf)) is not None:
        return whole
    cut = [_cuts(wanted, axis, cuts[axis], shelf) for axis in range(wanted.constant.ndim)]
    for axis in range(len(cut)):
        if parts := _run(wanted, axis, cut[axis], shelf):
            return Call("np.concatenate([", parts, "], axis=1)" if axis else "])")
    if len(cut) < 2:
        return None
    bands = [wanted.part((slice(*both), slice(None))) for both in pairwise(cut[0])]
    rows = [_run(band, 1, cut[1], shelf) for band in bands]
    if all(rows):
        return Call("np.block([", tuple(Call("[", row, "]") for row in rows if row), "])")
    if cut[0] != list(range(len(wanted.constant) + 1)):
        return None
    lines = [expression(wanted.part((k,)), cuts[1:], shelf) for k in range(len(wanted.constant))]
    return Call("np.stack([", tuple(line for line in lines if line is not None), "])") if None not in lines else None


def _cuts(wanted: Wanted, axis: int, given: Sequence[int], shelf: Shelf) -> list[int]:
    """Where `wanted` may be cut along `axis`, its two ends among them."""
    found = {0, wanted.constant.shape[axis], *given}
    for places in wanted.places:
        lines = np.moveaxis(places, axis, 0).reshape(len(np.moveaxis(places, axis, 0)), -1)[:, [0, -1]]
        holder = np.searchsorted(shelf.starts, np.abs(lines), side="right")
        found.update(int(k) + 1 for k in np.flatnonzero((holder[1:] != holder[:-1]).any(axis=1)))
    return sorted(found)


def _run(wanted: Wanted, axis: int, cuts: Sequence[int], shelf: Shelf) -> tuple[str, ...] | None:
    """Slices that give `wanted` one after another along `axis`, as few as there can be; None where there are none."""
    parts: list[str] = []
    start = 0
    while start < len(cuts) - 1:
        for end in range(len(cuts) - 1, start, -1):
            window = (slice(None),) * axis + (slice(cuts[start], cuts[end]),)
            if (text := _single(wanted.part(window), shelf)) is not None:
                parts.append(text)
                start = end
                break
        else:
            return None
    return tuple(parts)


def _single(wanted: Wanted, shelf: Shelf) -> str | None:
    """One slice, or the sum of some and a constant; None where that does not give `wanted`."""
    constant = float(wanted.constant.flat[0])
    if (wanted.constant != constant).any():
        return None
    terms = [_slice(places, shelf) for places in wanted.places if places.any()]
    if None in terms:
        return None
    if not terms:
        shape = ", ".join(map(str, wanted.constant.shape))
        shape = shape if wanted.constant.ndim == 1 else f"({shape})"
        dtype = f"np.{wanted.dtype}"
        return f"np.zeros({shape}, {dtype})" if not constant else f"np.full({shape}, {constant!r}, {dtype})"
    words = [str(term) for term in terms] + [repr(constant)] * (constant != 0)
    return words[0] + "".join(f" - {word[1:]}" if word[0] == "-" else f" + {word}" for word in words[1:])


def _slice(places: Array, shelf: Shelf) -> str | None:
    """The slice of one array that holds what is wanted at `places`, turned or reshaped as it has to be."""
    ends = [abs(int(places.flat[0])), abs(int(places.flat[-1]))]  # of what is turned, too, the least and the largest
    k, last = (int(each) - 1 for each in np.searchsorted(shelf.starts, ends, side="right"))
    if k != last or 0 in ends:
        return None
    shape, first = shelf.shapes[k], int(shelf.starts[k])
    corners = zip(*(np.unravel_index(end - first, shape) for end in ends), strict=True)
    window = [(int(start), int(end) + 1) for start, end in corners]
    sizes = [end - start for start, end in window]
    if min(sizes) < 1 or np.prod(sizes) != places.size:
        return None
    alone = [axis for axis, size in enumerate(sizes) if size == 1][: len(sizes) - places.ndim]
    if len(sizes) - len(alone) != places.ndim:
        return None
    grid = np.ogrid[tuple(slice(*both) for both in window)]
    held = np.ravel_multi_index(tuple(grid), shape).squeeze(tuple(alone)) + first
    sign, wanted = ("-", -places) if places.flat[0] < 0 else ("", places)
    for array, turned in _turned(held, wanted.shape):
        if np.array_equal(array, wanted):
            return f"{sign}{shelf.texts[k]}{subscript(window, alone, shape)}{turned}"
    return None


def _turned(held: Array, shape: tuple[int, ...]) -> Iterator[tuple[Array, str]]:
    """What can be made of `held` that has `shape`, and what is to be written behind it.

    A matrix of cuDNN is its buffer in another shape.
    """
    if held.shape == shape:
        yield held, ""
    if held.ndim != 2:
        return
    rows, columns = shape
    if held.T.shape == shape:
        yield held.T, ".T"
    for array, text in ((held, ""), (held.T, ".T")):
        yield array.reshape(shape), f"{text}.reshape({rows}, {columns})"
        yield array.reshape(shape[::-1]).T, f"{text}.reshape({columns}, {rows}).T"


def subscript(window: Sequence[tuple[int, int]], alone: Sequence[int], shape: Sequence[int]) -> str:
    """What `window`, (start, end) of each axis, is written as; axes `alone` are left out. Empty for the whole array."""
    words = []
    for axis, ((start, end), size) in enumerate(zip(window, shape, strict=True)):
        span = f"{start or ''}:{end if end < size else ''}"
        words.append(str(start) if axis in alone else span)
    while words and words[-1] == ":":
        words.pop()
    return f"[{', '.join(words)}]" if words else ""
