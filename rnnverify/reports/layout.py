"""Pieces that the terminal reports are laid out with."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table

from rnnverify.errors import printable


def to_string(parts: Iterable[RenderableType], width: int, color: bool) -> str:
    """`parts` one below the other, at most `width` columns wide."""
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        highlight=False,
        markup=False,  # names come from strangers' files
        emoji=False,
        legacy_windows=False,
    )
    for part in parts:
        shown = (Segment(_without_controls(text), style) for text, style, _ in console.render(part))
        console.print(Segments(shown))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def _without_controls(text: str) -> str:
    """`text` with what would steer the terminal written out; lines stay lines."""
    return "\n".join(printable(line, 10 * len(line)) if not line.isprintable() else line for line in text.split("\n"))


def indented(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, 2))


def grid(*ratios: int | None) -> Table:
    table = Table.grid(padding=(0, 2))
    for ratio in ratios:
        table.add_column(ratio=ratio, overflow="fold")
    return table
