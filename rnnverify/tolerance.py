"""What a tolerance of the user changes: a pair that rounding does not explain may be CLOSE.

A pair keeps the few points (|a|, |a - b|) that decide for every tolerance, so that a saved result is judged again
exactly as the comparison itself was, by this function and on the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from rnnverify.arrays import release
from rnnverify.behind import Behind
from rnnverify.canonical import Array
from rnnverify.comparison import Pair, Verdict
from rnnverify.deviation import Tolerance
from rnnverify.observed import compared
from rnnverify.trace import Trace

_BLOCK = 2**20  # entries
Points = tuple[tuple[float, float], ...]


def tolerate(pair: Pair, tolerance: Tolerance) -> Pair:
    """`pair` judged by `tolerance`, whatever it was judged by before."""
    verdict, reasons = pair.by_rounding, pair.rounding_reasons
    everything = (*pair.measured, *((pair.model.headline,) if pair.model else ()))
    finite = not any(any(measured.deviation.nonfinite) for measured in everything)
    if tolerance and verdict == "DIFFERENT" and finite and _all_within(pair.frontier, tolerance):
        verdict, reasons = _close(pair, tolerance)
    return replace(pair, verdict=verdict, reasons=(*reasons, *pair.own_reasons), tolerance=tolerance)


def _close(pair: Pair, tolerance: Tolerance) -> tuple[Verdict, tuple[str, ...]]:
    if pair.blind and not pair.weight_reasons:
        return "INCONCLUSIVE", (pair.blind,)
    explained = pair.weight_reasons and all(budget and budget.holds for budget in pair.budgets)
    what = "weights that differ" if explained else "beyond rounding"
    return "CLOSE", (f"{what}, states within {tolerance}", *pair.weight_reasons)


def _all_within(points: Points, tolerance: Tolerance) -> bool:
    """|a - b| <= atol + rtol |a| at every point, in exact arithmetic."""
    atol, rtol = Fraction(tolerance.atol), Fraction(tolerance.rtol)
    return all(Fraction(distance) <= atol + rtol * Fraction(size) for size, distance in points)


def frontier(baseline: Trace, candidate: Trace, behind: Sequence[tuple[Behind, Behind]] = ()) -> Points:
    """The points (|a|, |a - b|) of two traces that no tolerance can accept without accepting all others.

    A point is left out where another has no larger |a| and no smaller |a - b|, or where it lies on or below the line
    between two others: atol + rtol |a| is a line that rises.
    """
    stairs = np.zeros((0, 2))
    for _, _, a, b in compared(baseline, candidate):
        stairs = _climb(stairs, a, b)
    for ours, theirs in behind:
        stairs = _climb(stairs, ours.made, theirs.made)
    return _hull([(float(size), float(distance)) for size, distance in stairs])


def _climb(stairs: Array, a: Array, b: Array) -> Array:
    """The stairs (n, 2) of all points so far and those of a and b (B, T, F); what is not finite is no point."""
    length = max(1, _BLOCK // (a.shape[0] * a.shape[2]))
    for start in range(0, a.shape[1], length):
        base = a[:, start : start + length].astype(np.float64).ravel()
        with np.errstate(invalid="ignore", over="ignore"):
            distance = np.abs(base - b[:, start : start + length].astype(np.float64).ravel())
        size = np.abs(base)
        for step in (64, 1):  # a few points first: they spare most others the sorting
            stairs = _sorted_stairs(stairs, size[::step], distance[::step])
        release(a)
        release(b)
    return stairs


def _sorted_stairs(stairs: Array, size: Array, distance: Array) -> Array:
    below = np.searchsorted(stairs[:, 0], size, side="right")
    reached = np.concatenate([[-1.0], stairs[:, 1]])[below]
    new = (distance > reached) & np.isfinite(distance)
    points = np.concatenate([stairs, np.stack([size[new], distance[new]], axis=1)])
    points = points[np.lexsort((-points[:, 1], points[:, 0]))]
    highest = np.maximum.accumulate(np.concatenate([[-1.0], points[:-1, 1]])) if len(points) else np.zeros(0)
    return np.asarray(points[points[:, 1] > highest])


def _hull(stairs: list[tuple[float, float]]) -> Points:
    """The upper hull of points that rise in both coordinates."""
    kept: list[tuple[float, float]] = []
    for point in stairs:
        while len(kept) > 1 and not _turns_down(kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return tuple(kept)


def _turns_down(first: tuple[float, float], middle: tuple[float, float], last: tuple[float, float]) -> bool:
    (x0, y0), (x1, y1), (x2, y2) = ([Fraction(value) for value in point] for point in (first, middle, last))
    return (y1 - y0) * (x2 - x1) > (y2 - y1) * (x1 - x0)
