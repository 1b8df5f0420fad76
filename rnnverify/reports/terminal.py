"""The report that is read in a terminal: verdict last, where the eye is; how it came about above it."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rnnverify.comparison import Comparison, Measured, Pair, Side, TensorDifference, Verdict
from rnnverify.errors import RnnverifyError
from rnnverify.inspection import Inspection
from rnnverify.reports.layout import grid, indented, to_string
from rnnverify.reports.terminal_findings import findings
from rnnverify.reports.terminal_inspection import inspection

_STYLES: dict[Verdict, str] = {
    "IDENTICAL": "bold green",
    "EQUIVALENT": "bold green",
    "CLOSE": "bold yellow",
    "INCONCLUSIVE": "bold yellow",
    "DIFFERENT": "bold red",
}
_BLOCKS = "▁▂▃▄▅▆▇█"
_START = {"zero": "from zero states", "from_h0": "from random initial states", "probe": "in a one-step probe"}
_TENSORS_SHOWN = 12
_PACKAGES = {"keras": ("keras", "tensorflow"), "torch": ("torch",), "tensorflow": ("tensorflow", "tf_keras")}


def render(result: Comparison, *, width: int = 80, color: bool = False) -> str:
    """A comparison, at most `width` columns wide."""
    return to_string(_comparison(result), width, color)


def render_error(error: RnnverifyError) -> str:  # noqa: ARG001 - the line on stderr says it all
    """Nothing beside the error line."""
    return ""


def render_inspection(result: Inspection, *, width: int = 80, color: bool = False) -> str:
    """What a file holds, at most `width` columns wide."""
    return to_string(inspection(result), width, color)


def _comparison(result: Comparison) -> Iterator[RenderableType]:
    for side in result.sides:
        yield _side(side)
    yield Text()
    yield _inputs(result)
    for pair in result.pairs:
        yield Text()
        yield _pair_title(pair, len(result.pairs) > 1)
        yield indented(_deviation(pair))
        if pair.tensors:
            yield indented(_weights(pair.tensors))
    if len(result.sides) > 2:
        yield Text()
        yield Text("Maximum deviation of every side against every side", style="bold")
        yield indented(_matrix(result))
    yield Text()
    for pair in result.pairs:
        yield _verdict(pair)
    for pair in result.pairs:
        yield from findings(pair)


def _side(side: Side) -> Table:
    written = ", ".join(part for part in (side.form, side.writer) if part)
    rows = [("network", side.shape), ("file", written), (_engine(side), _versions(side))]
    rows += [("assumed", text) for text in side.assumptions]
    rows += [("note", text) for text in side.notes]
    if side.not_compared:
        rows.append(("not compared", ", ".join(side.not_compared)))
    details = grid(None, 1)
    for name, text in rows:
        if text:
            style = (
                "yellow"
                if name in ("assumed", "not compared") or (side.engine == "reference" and "ran" in name)
                else ""
            )
            details.add_row(Text(name, style="dim"), Text(text, style=style))
    outer = grid(1)
    outer.add_row(Text.assemble((f"{side.label}  ", "bold cyan"), (side.source, "bold")))
    outer.add_row(Padding(details, (0, 0, 0, 3)))
    return outer


def _engine(side: Side) -> str:
    return "recorded" if side.engine == "trace" else "ran by"


def _versions(side: Side) -> str:
    """How it ran, after the versions of what ran it."""
    if side.engine == "trace":
        return ""
    names = _PACKAGES.get(side.framework, ()) if side.engine == "native" else ()
    named = [f"{name} {side.versions[name]}" for name in names if name in side.versions]
    return ", ".join([*named, side.how])


def _inputs(result: Comparison) -> Text:
    batches = {name: batch for name, batch in result.inputs["batches"].items() if name != "probe"}
    probes = result.inputs["batches"].get("probe", {"shape": [0]})["shape"][0]
    words = []
    for name, batch in batches.items():
        B, T, features = batch["shape"]
        words.append(f"{B} x {T} steps x {features} features {_START[name]}")
    if len({tuple(batch["shape"]) for batch in batches.values()}) == 1 and len(words) == 2:
        B, T, features = batches["zero"]["shape"]
        words = [f"{B} sequences of {T} steps, {features} features, from zero and from random initial states"]
    words += [f"and {probes} one-step probes"] * bool(probes)
    return Text.assemble(("Inputs  ", "dim"), f"{', '.join(words)} ({result.inputs['origin']})")


def _pair_title(pair: Pair, several: bool) -> Text:
    title = f"{pair.candidate} against {pair.baseline}"
    return Text.assemble((title, "bold"), f"  {pair.verdict}" if several else "")


def _deviation(pair: Pair) -> Table:
    worst = pair.headline.deviation
    table = grid(None, 1)
    size = "not a number" if any(worst.nonfinite) else _number(worst.max_abs)
    table.add_row("maximum deviation", Text.assemble((size, "bold"), f"  {_where(pair.headline)}"))
    values = f"{pair.baseline} {worst.baseline_value:.9g}, {pair.candidate} {worst.candidate_value:.9g}"
    table.add_row("there", values)
    table.add_row("mean deviation", _number(worst.mean_abs))
    if all(pair.budgets):
        table.add_row("budget", _budgets(pair))
    if not all(pair.budgets) or pair.verdict in ("CLOSE", "DIFFERENT"):
        table.add_row("tolerance", f"{_number(pair.tolerance.atol)}{_relative(pair)}  ({pair.rule})")
    if worst.first_step is not None and not (all(pair.budgets) and pair.verdict == "EQUIVALENT"):
        count = f"{worst.beyond} of {worst.compared} values beyond it"
        table.add_row("first beyond", f"step {worst.first_step}; {count}")
    if pair.adequacy:
        caught = pair.adequacy.planted - len(pair.adequacy.survivors)
        table.add_row("adequacy", f"{caught} of {pair.adequacy.planted} planted mistakes would have been seen")
        if pair.adequacy.survivors:
            table.add_row("not seen", "; ".join(pair.adequacy.survivors))
    steps = pair.headline.deviation.by_step
    if len(steps) > 1:
        table.add_row("along time", Text(_profile(steps)))
    square = _square(pair)
    if square:
        table.add_row("at most", square)
    return table


def _budgets(pair: Pair) -> str:
    """How much of what rounding allows in each step the sides take, against the weights of the baseline."""
    shares = []
    for label, budget in zip((pair.baseline, pair.candidate), pair.budgets, strict=True):
        if budget:
            used = f"{budget.used:.0%}" if budget.used <= 1 else f"{_number(budget.used)} times"
            shares.append(f"{label} {used}")
    return ", ".join(shares) + " of what rounding allows in a step"


def _relative(pair: Pair) -> str:
    return f" + {_number(pair.tolerance.rtol)} x |{pair.baseline}|" if pair.tolerance.rtol else ""


def _where(measured: Measured) -> str:
    sequence, step, unit = measured.deviation.at
    start = _START[measured.batch]
    if measured.output == "y":
        return f"sequence {sequence}, step {step}, unit {unit}, {start}"
    return f"final state {measured.output}, sequence {sequence}, unit {unit}, {start}"


def _square(pair: Pair) -> str:
    """The triangle of the design: no deviation exceeds what the two runtimes and the weights add up to."""
    parts = []
    if pair.implementation_baseline is not None:
        parts.append(f"{_number(pair.implementation_baseline)} (arithmetic of {pair.baseline})")
    if pair.weights is not None:
        parts.append(f"{_number(pair.weights)} (weights, activation)")
    if pair.implementation_candidate is not None:
        parts.append(f"{_number(pair.implementation_candidate)} (arithmetic of {pair.candidate})")
    return " + ".join(parts) if len(parts) == 3 else ""


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}" if 1e-3 <= abs(value) < 1000 else f"{value:.1e}"


def _profile(steps: tuple[float, ...]) -> str:
    """One block character for each stretch of time, as high as the deviation there is to the largest."""
    top = max(steps)
    if top == 0:
        return _BLOCKS[0] * len(steps)
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, int(step / top * len(_BLOCKS)))] for step in steps)


def _weights(tensors: tuple[TensorDifference, ...]) -> RenderableType:
    changed = [tensor for tensor in tensors if tensor.differing or tensor.rounded]
    if not changed:
        count = sum(_size(tensor) for tensor in tensors)
        return Text(f"weights: all {count} equal, in {len(tensors)} tensors")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in ("weights", "shape", "differ", "by up to", "at", "values"):
        table.add_column(name, overflow="fold", justify="left")
    for tensor in changed[:_TENSORS_SHOWN]:
        differ = f"{tensor.differing} of {_size(tensor)}" if tensor.differing else f"{tensor.rounded} rounded"
        values = f"{tensor.baseline_value:.6g} / {tensor.candidate_value:.6g}"
        at = ", ".join(str(i) for i in tensor.at)
        style = "red" if tensor.differing else ""
        shape = " x ".join(str(n) for n in tensor.shape[1:])
        table.add_row(tensor.name, shape, Text(differ, style=style), _number(tensor.max_abs), at, values)
    equal = len(tensors) - len(changed)
    if equal or len(changed) > _TENSORS_SHOWN:
        rest = len(changed) - _TENSORS_SHOWN
        words = f"{equal} more equal" + (f", {rest} more that differ" if rest > 0 else "")
        table.add_row(Text(words, style="dim"))
    return table


def _size(tensor: TensorDifference) -> int:
    count = 1
    for n in tensor.shape:
        count *= n
    return count


def _matrix(result: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    labels = [side.label for side in result.sides]
    table.add_column("")
    for label in labels:
        table.add_column(label, justify="right")
    for i, label in enumerate(labels):
        cells = ["·" if i == j else _number(value) for j, value in enumerate(result.matrix[i])]
        table.add_row(Text(label, style="bold"), *cells)
    return table


def _verdict(pair: Pair) -> Table:
    table = grid(None, None, 1)
    first, *rest = pair.reasons or ("",)
    pairing = f"{pair.candidate}-{pair.baseline}"
    table.add_row(Text(pairing, style="dim"), Text(pair.verdict, style=_STYLES[pair.verdict]), first)
    for reason in rest:
        table.add_row("", "", reason)
    return table
