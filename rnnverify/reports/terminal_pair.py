"""One pair of sides in the terminal: its numbers, its weights, its verdict."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rnnverify.comparison import Measured, Pair, Searched, TensorDifference, Tolerance, Verdict
from rnnverify.reports.layout import grid

START = {
    "zero": "from zero states",
    "from_h0": "from random initial states",
    "probe": "in a one-step probe",
    "search": "found by --search",
}

STYLES: dict[Verdict, str] = {
    "IDENTICAL": "bold green",
    "EQUIVALENT": "bold green",
    "CLOSE": "bold yellow",
    "INCONCLUSIVE": "bold yellow",
    "DIFFERENT": "bold red",
}
_BLOCKS = "▁▂▃▄▅▆▇█"
_TENSORS_SHOWN = 12


def title(pair: Pair, several: bool) -> Text:
    title = f"{pair.candidate} against {pair.baseline}"
    return Text.assemble((title, "bold"), f"  {pair.verdict}" if several else "")


def deviation(pair: Pair) -> Table:
    worst = pair.headline.deviation
    table = grid(None, 1)
    size = "not a number" if any(worst.nonfinite) else number(worst.max_abs)
    table.add_row("maximum deviation", Text.assemble((size, "bold"), f"  {_where(pair.headline)}"))
    values = f"{pair.baseline} {worst.baseline_value:.9g}, {pair.candidate} {worst.candidate_value:.9g}"
    table.add_row("there", values)
    table.add_row("mean deviation", number(worst.mean_abs))
    if all(pair.budgets):
        table.add_row("in one step", _one_step(pair))
        table.add_row("budget", _budgets(pair))
    else:
        table.add_row("tolerance", f"{_tolerance(pair, pair.rule)}  ({pair.rule_words})")
    if pair.tolerance and pair.verdict in ("CLOSE", "DIFFERENT"):
        table.add_row("tolerance", f"{_tolerance(pair, pair.tolerance)}  (set by --atol and --rtol)")
    if worst.first_step is not None and not all(pair.budgets):
        count = f"{worst.beyond} of {worst.compared} values beyond it"
        table.add_row("first beyond", f"step {worst.first_step}; {count}")
    if pair.searched:
        table.add_row("search", _searched(pair.searched))
    if pair.adequacy:
        caught = pair.adequacy.planted - len(pair.adequacy.survivors)
        table.add_row("adequacy", f"{caught} of {pair.adequacy.planted} planted mistakes would have been seen")
        if pair.adequacy.survivors:
            table.add_row("not seen", "; ".join(pair.adequacy.survivors))
    for remark in pair.remarks:
        table.add_row("mind", remark)
    steps = pair.headline.deviation.by_step
    if len(steps) > 1:
        table.add_row("along time", Text(_profile(steps)))
    square = _square(pair)
    if square:
        table.add_row("at most", square)
    return table


def _searched(searched: Searched) -> str:
    if searched.found is None or searched.random is None:
        return searched.note
    times = f", {searched.found / searched.random:.2g} times as much" if searched.found > searched.random > 0 else ""
    return f"{number(searched.found)} on the worst inputs found{times}; {number(searched.random)} on the others"


def _budgets(pair: Pair) -> str:
    """How much of what rounding allows in each step the sides take, against the weights of the baseline."""
    shares = []
    for label, budget in zip((pair.baseline, pair.candidate), pair.budgets, strict=True):
        if budget:
            used = f"{budget.used:.0%}" if budget.used <= 1 else f"{number(budget.used)} times"
            shares.append(f"{label} {used}")
    return ", ".join(shares) + " of what rounding allows in a step"


def _one_step(pair: Pair) -> str:
    """How far single steps lie from exact ones, beside what the sides drift apart when they run freely."""
    both = zip((pair.baseline, pair.candidate), pair.budgets, strict=True)
    errors = ", ".join(f"{label} {number(budget.error)}" for label, budget in both if budget)
    return f"{errors} off the exact step at most; run freely, {number(pair.headline.deviation.max_abs)} apart"


def _tolerance(pair: Pair, tolerance: Tolerance) -> str:
    relative = f" + {number(tolerance.rtol)} x |{pair.baseline}|" if tolerance.rtol else ""
    return f"{number(tolerance.atol)}{relative}"


def _where(measured: Measured) -> str:
    sequence, step, unit = measured.deviation.at
    start = START[measured.batch]
    if measured.output == "y":
        return f"sequence {sequence}, step {step}, unit {unit}, {start}"
    return f"final state {measured.output}, sequence {sequence}, unit {unit}, {start}"


def _square(pair: Pair) -> str:
    """The triangle of the design: no deviation exceeds what the two runtimes and the weights add up to."""
    parts = []
    if pair.implementation_baseline is not None:
        parts.append(f"{number(pair.implementation_baseline)} (arithmetic of {pair.baseline})")
    if pair.weights is not None:
        parts.append(f"{number(pair.weights)} (weights, activation)")
    if pair.implementation_candidate is not None:
        parts.append(f"{number(pair.implementation_candidate)} (arithmetic of {pair.candidate})")
    return " + ".join(parts) if len(parts) == 3 else ""


def number(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}" if 1e-3 <= abs(value) < 1000 else f"{value:.1e}"


def _profile(steps: tuple[float, ...]) -> str:
    """One block character for each stretch of time, as high as the deviation there is to the largest."""
    top = max(steps)
    if top == 0:
        return _BLOCKS[0] * len(steps)
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, int(step / top * len(_BLOCKS)))] for step in steps)


def weights(tensors: tuple[TensorDifference, ...]) -> RenderableType:
    changed = [tensor for tensor in tensors if tensor.differing or tensor.rounded]
    if not changed:
        count = sum(_size(tensor) for tensor in tensors)
        return Text(f"weights: all {count} equal, in {len(tensors)} tensors")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in ("weights", "shape", "differ", "by up to", "ulps", "at", "values"):
        table.add_column(name, overflow="fold", justify="left")
    for tensor in changed[:_TENSORS_SHOWN]:
        differ = f"{tensor.differing} of {_size(tensor)}" if tensor.differing else f"{tensor.rounded} rounded"
        values = f"{tensor.baseline_value:.6g} / {tensor.candidate_value:.6g}"
        at = ", ".join(str(i) for i in tensor.at)
        style = "red" if tensor.differing else ""
        shape = " x ".join(str(n) for n in tensor.shape[1:])
        table.add_row(tensor.name, shape, Text(differ, style=style), number(tensor.max_abs), _ulps(tensor), at, values)
    equal = len(tensors) - len(changed)
    if equal or len(changed) > _TENSORS_SHOWN:
        rest = len(changed) - _TENSORS_SHOWN
        words = f"{equal} more equal" + (f", {rest} more that differ" if rest > 0 else "")
        table.add_row(Text(words, style="dim"))
    return table


def _ulps(tensor: TensorDifference) -> str:
    return f"{tensor.max_ulp:.0f}" if tensor.max_ulp < 1e5 else number(tensor.max_ulp)


def _size(tensor: TensorDifference) -> int:
    count = 1
    for n in tensor.shape:
        count *= n
    return count


def verdict(pair: Pair) -> Table:
    table = grid(None, None, 1)
    first, *rest = pair.reasons or ("",)
    pairing = f"{pair.candidate}-{pair.baseline}"
    table.add_row(Text(pairing, style="dim"), Text(pair.verdict, style=STYLES[pair.verdict]), first)
    for reason in rest:
        table.add_row("", "", reason)
    return table
