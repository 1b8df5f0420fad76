"""A comparison in words and numbers, for every report that people read. Plain text: each format escapes it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence

from rnnverify.comparison import Comparison, Measured, ModelOutputs, Pair, Searched, Side, TensorDifference, Witness
from rnnverify.deviation import Tolerance
from rnnverify.errors import printable
from rnnverify.finding import Finding

START = {
    "zero": "from zero states",
    "from_h0": "from random initial states",
    "probe": "in a one-step probe",
    "search": "found by --search",
    "tokens": "from tokens",
}

_MATTERS = ("machine", "instructions", "device", "products", "threads", "dtype")
_PACKAGES = {
    "keras": ("keras", "tensorflow"),
    "torch": ("torch",),
    "tensorflow": ("tensorflow", "tf_keras"),
    "flax": ("flax", "jax"),
    "equinox": ("equinox", "jax"),
    "onnx": ("onnxruntime", "onnx"),
}

Rows = Iterator[tuple[str, str]]
"""A name and what is to be said about it."""


def number(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}" if 1e-3 <= abs(value) < 1000 else f"{value:.1e}"


def numbers(pair: Pair) -> Rows:
    """What was measured of a pair; the maximum deviation first, and the number itself the first word."""
    worst = pair.headline.deviation
    size = "not a number" if any(worst.nonfinite) else number(worst.max_abs)
    yield "maximum deviation", f"{size}  {_where(pair.headline)}"
    yield "there", f"{pair.baseline} {worst.baseline_value:.9g}, {pair.candidate} {worst.candidate_value:.9g}"
    yield "mean deviation", number(worst.mean_abs)
    if all(pair.budgets):
        yield "in one step", _one_step(pair)
        yield "budget", _budgets(pair)
    else:
        yield "tolerance", f"{_tolerance(pair, pair.rule)}  ({pair.rule_words})"
    if pair.model:
        yield "whole model", _model(pair.model)
    if pair.tolerance and pair.verdict in ("CLOSE", "DIFFERENT"):
        yield "tolerance", f"{_tolerance(pair, pair.tolerance)}  (set by --atol and --rtol)"
    if worst.first_step is not None and not all(pair.budgets):
        yield "first beyond", f"step {worst.first_step}; {worst.beyond} of {worst.compared} values beyond it"
    if pair.searched:
        yield "search", _searched(pair.searched)
    if pair.adequacy:
        caught = pair.adequacy.planted - len(pair.adequacy.survivors)
        yield "adequacy", f"{caught} of {pair.adequacy.planted} planted mistakes would have been seen"
        if pair.adequacy.survivors:
            yield "not seen", "; ".join(pair.adequacy.survivors)
    for remark in pair.remarks:
        yield "mind", remark


def _model(model: ModelOutputs) -> str:
    """What the dense layers make of both sides."""
    worst = model.headline.deviation
    size = "not a number" if any(worst.nonfinite) else number(worst.max_abs)
    words = f"{size} behind {model.words}"
    if model.rule:
        same = model.decisions - model.flips
        words += f"; {model.rule} the same at {same} of {model.decisions} {model.at}"
    return f"{words}; the layers themselves take {_share(max(model.used))} what rounding allows"


def _share(used: float) -> str:
    """To be followed by what it is a share of."""
    return f"{used:.0%} of" if used <= 1 else f"{number(used)} times"


def _where(measured: Measured) -> str:
    sequence, step, unit = measured.deviation.at
    start = START.get(measured.batch) or f"from zero states, sequences of {measured.batch}"
    if measured.output == "y":
        return f"sequence {sequence}, step {step}, unit {unit}, {start}"
    return f"final state {measured.output}, sequence {sequence}, unit {unit}, {start}"


def _one_step(pair: Pair) -> str:
    """How far single steps lie from exact ones, beside what the sides drift apart when they run freely."""
    both = zip((pair.baseline, pair.candidate), pair.budgets, strict=True)
    errors = ", ".join(f"{label} {number(budget.error)}" for label, budget in both if budget)
    return f"{errors} off the exact step at most; run freely, {number(pair.headline.deviation.max_abs)} apart"


def _budgets(pair: Pair) -> str:
    """How much of what rounding allows in each step the sides take, against the weights of the baseline."""
    shares = []
    for label, budget in zip((pair.baseline, pair.candidate), pair.budgets, strict=True):
        if budget:
            shares.append(f"{label} {_share(budget.used)}")
    *others, last = shares
    words = ", ".join([*(share.removesuffix(" of") for share in others), last])
    return f"{words} what rounding allows in a step"


def _tolerance(pair: Pair, tolerance: Tolerance) -> str:
    relative = f" + {number(tolerance.rtol)} x |{pair.baseline}|" if tolerance.rtol else ""
    return f"{number(tolerance.atol)}{relative}"


def _searched(searched: Searched) -> str:
    if searched.found is None or searched.random is None:
        return searched.note
    times = f", {searched.found / searched.random:.2g} times as much" if searched.found > searched.random > 0 else ""
    return f"{number(searched.found)} on the worst inputs found{times}; {number(searched.random)} on the others"


def largest(result: Comparison) -> str:
    """The largest deviation of any side."""
    worst = [pair.headline.deviation for pair in result.pairs]
    return "not a number" if any(any(each.nonfinite) for each in worst) else number(max(d.max_abs for d in worst))


def square(pair: Pair) -> tuple[tuple[float, str], ...]:
    """The triangle of the design: no deviation exceeds what the two runtimes and the weights add up to.

    The three parts, each with what it comes from; empty where one of them is not known.
    """
    parts = (
        (pair.implementation_baseline, f"arithmetic of {pair.baseline}"),
        (pair.weights, "weights, activation"),
        (pair.implementation_candidate, f"arithmetic of {pair.candidate}"),
    )
    known = tuple((value, words) for value, words in parts if value is not None)
    return known if len(known) == 3 else ()


def at_most(pair: Pair) -> str:
    """`square` as a sum; empty where it is."""
    return " + ".join(f"{number(value)} ({words})" for value, words in square(pair))


WEIGHT_COLUMNS = ("weights", "shape", "differ", "by up to", "ulps", "at", "values")


def weight_row(tensor: TensorDifference) -> tuple[str, ...]:
    """A tensor that is not equal on both sides, under WEIGHT_COLUMNS."""
    return (
        tensor.name,
        " x ".join(str(n) for n in tensor.shape[tensor.shape[0] == 1 :]),
        f"{tensor.differing} of {math.prod(tensor.shape)}" if tensor.differing else f"{tensor.rounded} rounded",
        number(tensor.max_abs),
        f"{tensor.max_ulp:.0f}" if tensor.max_ulp < 1e5 else number(tensor.max_ulp),
        ", ".join(str(i) for i in tensor.at),
        f"{tensor.baseline_value:.6g} / {tensor.candidate_value:.6g}",
    )


def unequal(tensors: tuple[TensorDifference, ...]) -> list[TensorDifference]:
    return [tensor for tensor in tensors if tensor.differing or tensor.rounded]


def all_equal(tensors: tuple[TensorDifference, ...]) -> str:
    return f"weights: all {sum(math.prod(t.shape) for t in tensors)} equal, in {len(tensors)} tensors"


def side_rows(side: Side) -> Rows:
    """What is known of a side, and how it ran."""
    rows = [("network", side.shape), ("file", ", ".join(part for part in (side.form, side.writer) if part))]
    rows.append(("recorded" if side.engine == "trace" else "ran by", _versions(side)))
    rows += [("assumed", text) for text in side.assumptions]
    rows += [("note", text) for text in side.notes]
    rows.append(("not compared", ", ".join(side.not_compared)))
    return ((name, text) for name, text in rows if text)


def _versions(side: Side) -> str:
    """How it ran, after the versions of what ran it."""
    if side.engine == "trace":
        return ""
    names = _PACKAGES.get(side.framework, ()) if side.engine == "native" else ()
    named = [f"{name} {side.versions[name]}" for name in names if name in side.versions]
    return ", ".join([*named, side.how])


def inputs(result: Comparison) -> str:
    """What every side was run on."""
    batches = {name: batch for name, batch in result.inputs["batches"].items() if name != "probe"}
    probes = result.inputs["batches"].get("probe", {"shape": [0]})["shape"][0]
    words = []
    for name, batch in batches.items():
        B, T, features = batch["shape"]
        if batch.get("lengths"):
            words.append(f"{B} sequences of {_range(batch['lengths'])} steps, padded to {T}")
        else:
            words.append(f"{B} x {T} steps x {features} features {START[name]}")
    if len({tuple(batch["shape"]) for batch in batches.values()}) == 1 and len(words) == 2:
        B, T, features = batches["zero"]["shape"]
        words = [f"{B} sequences of {T} steps, {features} features, from zero and from random initial states"]
    both = ["zero", "from_h0"]
    if len(words) > 2 and list(batches)[:2] == both and batches["zero"]["shape"] == batches["from_h0"]["shape"]:
        B, T, features = batches["zero"]["shape"]
        alike = f"{B} x {T} steps x {features} features from zero and from random initial states"
        words[:2] = [alike]
    words += [f"and {probes} one-step probes"] * bool(probes)
    return f"{', '.join(words)} ({result.inputs['origin']})"


def _range(lengths: Sequence[int]) -> str:
    return f"{min(lengths)} to {max(lengths)}" if min(lengths) < max(lengths) else str(lengths[0])


def environment(result: Comparison) -> Iterator[str]:
    """What was set otherwise on one side than on another, of all that changes how floats are rounded."""
    for name in _MATTERS:
        known = [(side.label, side.environment[name]) for side in result.sides if name in side.environment]
        if len({value for _, value in known}) > 1:
            yield f"{name}: " + ", ".join(f"{label} {value}" for label, value in known)


def wrong(pair: Pair) -> str:
    """The heading of `pair.findings`."""
    count = len(pair.findings)
    return "What went wrong" if count == 1 else f"What went wrong: {count} mistakes at once"


def mistake(finding: Finding) -> str:
    """Which mistake, on which side, where."""
    return f"{finding.side}: {finding.name}" + (f" ({finding.where})" if finding.where else "")


def remedy(finding: Finding, most: int) -> list[str]:
    """The code that would have been right, `most` statements of it, fewer of long ones; else what is wrong."""
    if finding.code:
        lines = [sum(1 + each.count("\n") for each in finding.code[: k + 1]) for k in range(len(finding.code))]
        shown = max(2, sum(count <= 3 * most for count in lines[:most]))
        left = len(finding.code) - shown
        return [*finding.code[:shown], *[f"# and {left} more like these; the JSON has them all"] * (left > 0)]
    if finding.names:
        left = len(finding.names) - most
        names = ", ".join(printable(name) for name in finding.names[:most])
        return [f"in {names}" + (f", and {left} more" if left > 0 else "")]
    return []


def evidence(findings: tuple[Finding, ...]) -> str:
    """What undoing the mistakes leaves of the deviation, and why that is sure."""
    finding = findings[0]
    why = {
        "certain": "the weights show it, number for number",
        "confirmed": "rounding explains what remains",
        "suspected": "nothing proves it",
    }[finding.proof]
    if finding.before is None or finding.after is None:
        return why
    undone = "undone" if len(findings) == 1 else "all undone"
    return f"{undone}, the deviation falls from {finding.before:.2g} to {finding.after:.2g}; {why}"


def witness(found: Witness) -> str:
    """What was saved and how large the difference is, or why nothing was."""
    if not found.path or found.deviation is None:
        return found.note
    size = "not a number" if math.isnan(found.deviation) else number(found.deviation)
    return f"{found.path}: {found.note}; maximum deviation {size} ({found.pair}); replay it with"


def replay(found: Witness | None) -> str:
    """The command on one line, ready to paste; empty where there is none."""
    command = shlex.join(found.command) if found else ""
    return printable(command, len(command) * 10)
