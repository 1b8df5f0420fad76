"""What a file holds, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rnnverify.inspection import Inspection
from rnnverify.reports.layout import grid, indented

_LAYOUTS = {
    "separate": "two kernels, one bias (Keras)",
    "concatenated": "one kernel over [x, h], one bias (TensorFlow)",
    "two biases": "two kernels, two biases (PyTorch)",
}


def inspection(result: Inspection) -> Iterator[RenderableType]:
    """The parts of the report on one file, from the top."""
    yield Text(result.source, style="bold")
    details = grid(None, 1)
    rows = [("form", result.form), ("written by", result.writer), ("read as", result.framework), ("part", result.part)]
    rows += [("network", result.shape), ("fingerprint", result.weights_fingerprint[:16])]
    rows += [("assumed", text) for text in result.assumptions]
    rows += [("note", text) for text in result.notes]
    rows += [("not compared", ", ".join(result.not_compared))]
    for name, text in rows:
        if text:
            details.add_row(Text(name, style="dim"), Text(text, style="yellow" if name == "assumed" else ""))
    yield indented(details)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in ("tensor in the file", "shape", "dtype", "goes to"):
        table.add_column(name, overflow="fold")
    for line in result.tensors:
        role = Text(line.role) if line.role else Text(line.unused or "not used", style="dim")
        table.add_row(Text(line.name), " x ".join(str(n) for n in line.shape) or "scalar", line.dtype, role)
    yield table
    canonical = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    canonical.add_column("canonical tensor", overflow="fold")
    canonical.add_column("shape (gates first)")
    for name, shape in result.canonical.items():
        canonical.add_row(name, " x ".join(str(n) for n in shape))
    yield canonical
    counts = grid(None, None)
    for layout, count in result.parameter_counts.items():
        counts.add_row(Text(_LAYOUTS[layout]), Text(f"{count:,}", justify="right"))
    yield Text("numbers that this network takes")
    yield indented(counts)
