"""The report that is read in a terminal: verdict last, where the eye is; how it came about above it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rnnverify.comparison import Comparison, Side
from rnnverify.errors import RnnverifyError
from rnnverify.inspection import Inspection
from rnnverify.reports.layout import grid, indented, to_string
from rnnverify.reports.terminal_conversion import conversion, fixed
from rnnverify.reports.terminal_findings import findings
from rnnverify.reports.terminal_inspection import inspection
from rnnverify.reports.terminal_pair import deviation, title, verdict, weights
from rnnverify.reports.words import environment, inputs, number, replay, side_rows, witness

if TYPE_CHECKING:  # it brings all that a comparison needs, and `inspect` does not
    from rnnverify.conversion import Conversion


def render(result: Comparison, *, width: int = 80, color: bool = False) -> str:
    """A comparison, at most `width` columns wide."""
    command = replay(result.witness)  # on one line, however wide: broken here it could not be pasted into a shell
    return to_string(_comparison(result), width, color) + (command + "\n" if command else "")


def render_error(error: RnnverifyError) -> str:  # noqa: ARG001 - the line on stderr says it all
    """Nothing beside the error line."""
    return ""


def render_inspection(result: Inspection, *, width: int = 80, color: bool = False) -> str:
    """What a file holds, at most `width` columns wide."""
    return to_string(inspection(result), width, color)


def render_conversion(result: Conversion, *, width: int = 80, color: bool = False) -> str:
    """A network that was written elsewhere; the whole comparison too, where it is not the same network."""
    parts = [*conversion(result), *([] if result.files else [Text(), *_comparison(result.comparison)])]
    code = f"\n{result.code}" if result.code else ""  # as it is: a line broken here could not be pasted
    return to_string(parts, width, color) + code


def _comparison(result: Comparison) -> Iterator[RenderableType]:
    for side in result.sides:
        yield _side(side)
    yield Text()
    yield Text.assemble(("Inputs  ", "dim"), inputs(result))
    for words in environment(result):
        yield Text.assemble(("Differs ", "dim"), words)
    for pair in result.pairs:
        yield Text()
        yield title(pair, len(result.pairs) > 1)
        yield indented(deviation(pair))
        if pair.tensors:
            yield indented(weights(pair.tensors))
    if len(result.sides) > 2:
        yield Text()
        yield Text("Maximum deviation of every side against every side", style="bold")
        yield indented(_matrix(result))
    yield Text()
    for pair in result.pairs:
        yield verdict(pair)
    for pair in result.pairs:
        yield from findings(pair)
    if result.witness:
        yield Text()
        yield Text.assemble(("Witness  ", "dim"), witness(result.witness))
    if result.fixed:
        yield Text()
        yield fixed(result.fixed)


def _side(side: Side) -> Table:
    details = grid(None, 1)
    for name, text in side_rows(side):
        warned = name in ("assumed", "not compared") or (name == "ran by" and side.engine == "reference")
        details.add_row(Text(name, style="dim"), Text(text, style="yellow" if warned else ""))
    outer = grid(1)
    outer.add_row(Text.assemble((f"{side.label}  ", "bold cyan"), (side.source, "bold")))
    outer.add_row(Padding(details, (0, 0, 0, 3)))
    return outer


def _matrix(result: Comparison) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    labels = [side.label for side in result.sides]
    table.add_column("")
    for label in labels:
        table.add_column(label, justify="right")
    for i, label in enumerate(labels):
        cells = ["·" if i == j else number(value) for j, value in enumerate(result.matrix[i])]
        table.add_row(Text(label, style="bold"), *cells)
    return table
