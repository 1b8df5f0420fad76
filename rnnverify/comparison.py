"""Deviations, verdicts and the frozen result of a comparison. The inequality lives here only:

    a and b agree where  |a - b| <= atol + rtol * |a|,  a the baseline; NaN or infinity on either side never agrees

`measure` refuses what could pass without having been compared: empty arrays, and shapes that merely broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rnnverify.adequacy import Adequacy
from rnnverify.arrays import release
from rnnverify.canonical import Array
from rnnverify.errors import MismatchError, OptionError
from rnnverify.finding import Finding
from rnnverify.heatmap import HeatMap
from rnnverify.rounding import Budget
from rnnverify.weight_map import WeightMap

Verdict = Literal["IDENTICAL", "EQUIVALENT", "CLOSE", "DIFFERENT", "INCONCLUSIVE"]
EXIT_CODES: dict[Verdict, int] = {"IDENTICAL": 0, "EQUIVALENT": 0, "CLOSE": 0, "DIFFERENT": 1, "INCONCLUSIVE": 3}

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


@dataclass(frozen=True)
class TensorDifference:
    """One weight tensor of two networks, in canonical form."""

    name: str  # such as "layer 0 kernel"; the two biases of a gate are compared by their sum
    shape: tuple[int, ...]
    differing: int  # entries beyond what a change of layout rounds
    max_abs: float
    at: tuple[int, ...]  # of the maximum
    baseline_value: float  # there
    candidate_value: float
    max_ulp: float = 0.0  # the largest difference in units in the last place of the narrower dtype
    rounded: int = 0  # entries that differ by no more than the rounding of b_ih + b_hh to one float, or of weight_norm
    map: WeightMap | None = None  # where entries differ: how they look side by side


@dataclass(frozen=True)
class Side:
    """One argument of the comparison: what was read, and what ran."""

    label: str  # "A" for the baseline, then "B", "C", ...
    source: str  # the argument as given
    framework: str  # "keras", "torch", "tensorflow"; "trace" for a recorded one
    form: str  # container
    writer: str  # who wrote the file, as far as it says
    shape: str  # such as "1 layer, 5 -> 8, tanh"
    engine: str  # "native", "reference", "trace"
    how: str  # such as "torch 2.13.0, torch.load", or why it did not run natively
    assumptions: tuple[str, ...]
    not_compared: tuple[str, ...]
    notes: tuple[str, ...]
    weights_fingerprint: str  # "" where the weights are not known
    versions: Mapping[str, str]
    environment: Mapping[str, str]  # what it was computed with: processor, threads, switches; empty where not known


@dataclass(frozen=True)
class Measured:
    """One deviation with where it was taken: which batch, and states of every step or the final ones."""

    batch: str  # "zero" or "from_h0": the initial state
    output: str  # "y" (every step) or "h_n <layer>" (final states)
    deviation: Deviation


@dataclass(frozen=True)
class ModelOutputs:
    """What the dense layers behind the recurrent part make of it on both sides."""

    words: str  # the layers, such as "Dense 'fc', 6 -> 3, softmax"
    at: str  # what they read: "steps", all of them; "last steps" or "final states", where no more was recorded
    headline: Measured  # the largest deviation of their outputs
    used: tuple[float, float]  # the largest share of what rounding allows them, by side
    rule: str  # how outputs decide: "argmax", "above 0.5"; empty where they do not
    flips: int  # at how many of those the sides decide otherwise
    decisions: int  # of how many
    reasons: tuple[str, ...]  # sentences: why rounding does not explain them; empty where it does


@dataclass(frozen=True)
class Searched:
    """What `--search` found for a pair."""

    found: float | None  # the largest deviation on the inputs that it found; None where nothing was searched
    random: float | None  # the largest on the others, from zero states
    note: str = ""  # why nothing was searched


@dataclass(frozen=True)
class Witness:
    """The smallest case found in which the sides differ, saved by `--save-witness`."""

    note: str  # a sentence: what it is, or why nothing was saved
    path: str = ""  # "" where nothing was saved
    pair: str = ""  # such as "B-A"
    deviation: float | None = None  # maximum deviation of that pair when `command` was run; NaN where not finite
    command: tuple[str, ...] = ()  # the arguments that replay it


@dataclass(frozen=True)
class Fixed:
    """What `--write-fixed` wrote: the baseline's network in the layout and form of the candidate's file."""

    note: str  # a sentence: what it is, or why nothing was written
    path: str = ""  # "" where nothing was written
    verdict: Verdict | None = None  # of the baseline against it


@dataclass(frozen=True)
class Pair:
    """A side held against the baseline: the square of the design, and its verdict."""

    baseline: str  # label
    candidate: str
    verdict: Verdict
    reasons: tuple[str, ...]  # sentences: why this verdict
    tolerance: Tolerance  # of the user
    by_rounding: Verdict  # without it
    rounding_reasons: tuple[str, ...]
    weight_reasons: tuple[str, ...]  # how the networks differ, whatever the states do
    own_reasons: tuple[str, ...]  # which side departs from the weights of its own file
    blind: str  # why these inputs could not have shown a difference; empty where they could
    frontier: tuple[tuple[float, float], ...]  # (|a|, |a - b|) that decide for every tolerance; empty unless DIFFERENT
    rule: Tolerance  # what stands in where states were not recorded
    rule_words: str  # where it comes from
    remarks: tuple[str, ...]  # what these sizes and inputs cannot tell apart, or hardly
    budgets: tuple[Budget | None, Budget | None]  # of both, against the baseline's weights; None: states not recorded
    adequacy: Adequacy | None  # of these inputs, for a pass; None where nothing passed, or no weights are known
    own_budgets: tuple[Budget | None, ...]  # of both, each against the weights of its own file
    headline: Measured  # the largest deviation, by the rule
    measured: tuple[Measured, ...]  # every one
    implementation_baseline: float | None  # A against A*; None where it did not run, or has no weights
    implementation_candidate: float | None  # B against B*
    weights: float | None  # A* against B*
    tensors: tuple[TensorDifference, ...]  # empty where a side's weights are not known
    searched: Searched | None = None  # None where that was not asked for
    findings: tuple[Finding, ...] = ()  # the porting mistakes behind DIFFERENT, where they could be named
    model: ModelOutputs | None = None  # behind the recurrent part, where both sides have dense layers there
    heat: HeatMap | None = None  # of the outputs in the batch of the headline


@dataclass(frozen=True)
class Comparison:
    """The result: every side against the first."""

    verdict: Verdict  # the worst of the pairs
    sides: tuple[Side, ...]
    pairs: tuple[Pair, ...]
    matrix: tuple[tuple[float, ...], ...]  # maximum deviation of every side against every side
    inputs: Mapping[str, Any]  # shape, seed or file, fingerprint
    witness: Witness | None = None  # None where that was not asked for
    fixed: Fixed | None = None  # likewise

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]


_SEVERITY: tuple[Verdict, ...] = ("IDENTICAL", "EQUIVALENT", "CLOSE", "INCONCLUSIVE", "DIFFERENT")


def worst_verdict(pairs: tuple[Pair, ...]) -> Verdict:
    return max((pair.verdict for pair in pairs), key=_SEVERITY.index)
