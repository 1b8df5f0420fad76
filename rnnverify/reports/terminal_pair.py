"""One pair of sides in the terminal: its numbers, its weights, its verdict."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rnnverify.comparison import Pair, TensorDifference, Verdict
from rnnverify.reports.layout import grid
from rnnverify.reports.words import WEIGHT_COLUMNS, all_equal, at_most, numbers, unequal, weight_row

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
    table = grid(None, 1)
    (name, value), *rest = numbers(pair)
    size, gap, where = value.partition("  ")
    table.add_row(name, Text.assemble((size, "bold"), gap, where))
    for name, value in rest:
        table.add_row(name, value)
    steps = pair.headline.deviation.by_step
    if len(steps) > 1:
        table.add_row("along time", Text(_profile(steps)))
    if at_most(pair):
        table.add_row("at most", at_most(pair))
    return table


def _profile(steps: tuple[float, ...]) -> str:
    """One block character for each stretch of time, as high as the deviation there is to the largest."""
    top = max(steps)
    if top == 0:
        return _BLOCKS[0] * len(steps)
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, int(step / top * len(_BLOCKS)))] for step in steps)


def weights(tensors: tuple[TensorDifference, ...]) -> RenderableType:
    changed = unequal(tensors)
    if not changed:
        return Text(all_equal(tensors))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in WEIGHT_COLUMNS:
        table.add_column(name, overflow="fold", justify="left")
    for tensor in changed[:_TENSORS_SHOWN]:
        name, shape, differ, *rest = weight_row(tensor)
        table.add_row(name, shape, Text(differ, style="red" if tensor.differing else ""), *rest)
    equal = len(tensors) - len(changed)
    if equal or len(changed) > _TENSORS_SHOWN:
        left = len(changed) - _TENSORS_SHOWN
        words = f"{equal} more equal" + (f", {left} more that differ" if left > 0 else "")
        table.add_row(Text(words, style="dim"))
    return table


def verdict(pair: Pair) -> Table:
    table = grid(None, None, 1)
    first, *rest = pair.reasons or ("",)
    pairing = f"{pair.candidate}-{pair.baseline}"
    table.add_row(Text(pairing, style="dim"), Text(pair.verdict, style=STYLES[pair.verdict]), first)
    for reason in rest:
        table.add_row("", "", reason)
    return table
