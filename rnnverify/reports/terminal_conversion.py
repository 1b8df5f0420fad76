"""What was converted, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rnnverify.comparison import Fixed
from rnnverify.reports.layout import grid, indented
from rnnverify.reports.terminal_pair import deviation, verdict

if TYPE_CHECKING:  # it brings all that a comparison needs, and `inspect` does not
    from rnnverify.conversion import Conversion


def conversion(result: Conversion) -> Iterator[RenderableType]:
    """The parts of the report on one conversion, from the top."""
    yield Text.assemble((result.source, "bold"), ("  to  ", "dim"), (result.target, "bold"))
    details = grid(None, 1)
    rows = [("network", result.shape), ("form", result.form), ("written by", result.written_by)]
    rows += [("file", file) for file in result.files]
    rows += [("note", text) for text in result.notes]
    rows += [("not converted", ", ".join(result.not_converted))]
    for name, text in rows:
        if text:
            details.add_row(Text(name, style="dim"), Text(text, style="yellow" if name == "not converted" else ""))
    yield indented(details)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in ("tensor written", "shape", "dtype", "holds"):
        table.add_column(name, overflow="fold")
    for line in result.tensors:
        shape = " x ".join(str(n) for n in line.shape) or "scalar"
        table.add_row(Text(line.name), shape, line.dtype, Text(line.role or line.unused))
    yield table
    (pair,) = result.comparison.pairs
    if result.files:
        yield indented(deviation(pair))
        yield verdict(pair)
    else:
        yield Text(f"nothing was left there: what was written is {pair.verdict}", style="red")


def fixed(found: Fixed) -> Text:
    """What was written in the candidate's place, or why nothing was."""
    return Text.assemble(("Fixed  ", "dim"), f"{found.path}: {found.note}" if found.path else found.note)
