"""How far two arrays of states lie apart. The inequality lives here only:

    a and b agree where  |a - b| <= atol + rtol * |a|,  a the baseline; NaN or infinity on either side never agrees

`measure` refuses what could pass without having been compared: empty arrays, and shapes that merely broadcast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rnnverify.arrays import release
from rnnverify.canonical import Array
from rnnverify.errors import MismatchError, OptionError

UNIT = {"bfloat16": 1e-2, "float16": 1e-3, "float32": 1e-5, "float64": 1e-13}
"""The rule where states were not recorded, and steps cannot be checked: this times the largest state, 1 at least."""

_BLOCK_BYTES = 2**24
PROFILE_WIDTH = 48


@dataclass(frozen=True)
class Tolerance:
    """What the user calls close. Both zero: only what rounding explains passes."""

    atol: float = 0.0
    rtol: float = 0.0

    def __post_init__(self) -> None:
        for name in ("atol", "rtol"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise OptionError(f"--{name} {value:g}: a tolerance is a number from 0 up")

    def __bool__(self) -> bool:
        return self.atol > 0 or self.rtol > 0

    def limit(self, baseline: Array) -> Array:
        return self.atol + self.rtol * np.abs(baseline)

    def __str__(self) -> str:
        return f"atol {self.atol:.3g}" + (f", rtol {self.rtol:.3g}" if self.rtol else "")


@dataclass(frozen=True)
class Deviation:
    """The measured difference of two arrays (B, T, F), the first being the baseline."""

    max_abs: float  # over entries finite on both sides
    at: tuple[int, int, int]  # (sequence, step, unit) of the maximum, or of the first entry that is not finite
    baseline_value: float  # there
    candidate_value: float
    mean_abs: float
    compared: int  # entries
    beyond: int  # entries beyond the tolerance, those not finite included
    first_step: int | None  # the first step with such an entry
    by_step: tuple[float, ...]  # the maximum along time, in at most PROFILE_WIDTH stretches
    nonfinite: tuple[int, int]  # entries NaN or infinite in the baseline, in the candidate
    bitwise: bool  # same dtype, same bits


def measure(baseline: Array, candidate: Array, tolerance: Tolerance) -> Deviation:
    """Compare two arrays of shape (B, T, F), block by block along time so that either may be a file on disk.

    Raises MismatchError where the shapes are not the same, have another number of axes, or hold nothing.
    """
    if baseline.shape != candidate.shape:
        raise MismatchError(f"states of shape {baseline.shape} cannot be compared with {candidate.shape}")
    if baseline.ndim != 3 or baseline.size == 0:
        raise MismatchError(f"states of shape {baseline.shape} cannot be compared: wanted (B, T, F), no axis empty")
    B, T, F = baseline.shape
    per_step = np.zeros(T)
    beyond = total = nonfinite_a = nonfinite_b = 0
    mean = 0.0
    worst, at = -1.0, (0, 0, 0)
    first_step = None
    bitwise = baseline.dtype == candidate.dtype
    length = max(1, _BLOCK_BYTES // (8 * B * F))
    for start in range(0, T, length):
        raw_a, raw_b = baseline[:, start : start + length], candidate[:, start : start + length]
        bitwise = bitwise and _same_bits(raw_a, raw_b)
        a, b = raw_a.astype(np.float64), raw_b.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.abs(a - b)
        if np.isfinite(difference).all():
            outside = difference > tolerance.limit(a)
        else:  # two numbers that are finite may differ by more than a float holds: they count as they are
            finite_a, finite_b = np.isfinite(a), np.isfinite(b)
            finite = finite_a & finite_b
            difference = np.where(finite, difference, 0.0)
            outside = ~(finite & (difference <= tolerance.limit(np.where(finite_a, a, 0.0))))
            nonfinite_a += int(finite_a.size - finite_a.sum())
            nonfinite_b += int(finite_b.size - finite_b.sum())
        beyond += int(outside.sum())
        mean += float(difference.sum())
        total += difference.size
        per_step[start : start + length] = difference.max(axis=(0, 2))
        if first_step is None and outside.any():
            first_step = start + int(np.argmax(outside.any(axis=(0, 2))))
        release(baseline)
        release(candidate)
        if float(difference.max()) > worst:
            i, t, j = np.unravel_index(int(np.argmax(difference)), difference.shape)
            worst, at = float(difference.max()), (int(i), start + int(t), int(j))
    if nonfinite_a or nonfinite_b:
        at = _first_nonfinite(baseline, candidate)
    stretches = np.array_split(per_step, min(T, PROFILE_WIDTH))
    return Deviation(
        max_abs=worst,
        at=at,
        baseline_value=float(baseline[at]),
        candidate_value=float(candidate[at]),
        mean_abs=mean / total,
        compared=total,
        beyond=beyond,
        first_step=first_step,
        by_step=tuple(float(stretch.max()) for stretch in stretches),
        nonfinite=(nonfinite_a, nonfinite_b),
        bitwise=bool(bitwise),
    )


def largest(baseline: Array, candidate: Array) -> float:
    """The largest absolute difference of two arrays (B, T, F); NaN where either is not finite somewhere."""
    if baseline.shape != candidate.shape or baseline.size == 0:
        raise MismatchError(f"states of shape {baseline.shape} cannot be compared with {candidate.shape}")
    found = 0.0
    length = max(1, _BLOCK_BYTES // (8 * baseline.shape[0] * baseline.shape[2]))
    for start in range(0, baseline.shape[1], length):
        steps = slice(start, start + length)
        with np.errstate(invalid="ignore", over="ignore"):
            difference = np.abs(baseline[:, steps].astype(np.float64) - candidate[:, steps].astype(np.float64))
        found = max(found, float(difference.max())) if not np.isnan(difference).any() else math.nan
        release(baseline)
        release(candidate)
        if not math.isfinite(found):
            return math.nan
    return found


def _same_bits(a: Array, b: Array) -> bool:
    bits = f"u{a.dtype.itemsize}"
    return bool(np.array_equal(np.ascontiguousarray(a).view(bits), np.ascontiguousarray(b).view(bits)))


def _first_nonfinite(baseline: Array, candidate: Array) -> tuple[int, int, int]:
    for t in range(baseline.shape[1]):
        bad = ~(np.isfinite(baseline[:, t]) & np.isfinite(candidate[:, t]))
        if bad.any():
            i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
            return int(i), t, int(j)
    raise AssertionError("called without an entry that is not finite")
