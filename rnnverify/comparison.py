"""The frozen result of a comparison, down to each measured number, and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rnnverify.adequacy import Adequacy
from rnnverify.deviation import Deviation, Tolerance
from rnnverify.finding import Finding
from rnnverify.heatmap import HeatMap
from rnnverify.rounding import Budget
from rnnverify.weight_map import WeightMap

Verdict = Literal["IDENTICAL", "EQUIVALENT", "CLOSE", "DIFFERENT", "INCONCLUSIVE"]
EXIT_CODES: dict[Verdict, int] = {"IDENTICAL": 0, "EQUIVALENT": 0, "CLOSE": 0, "DIFFERENT": 1, "INCONCLUSIVE": 3}


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
