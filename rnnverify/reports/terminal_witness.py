"""The witness in the terminal report, and the command that replays it, ready to paste."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable

from rich.text import Text

from rnnverify.comparison import Witness
from rnnverify.errors import printable


def witness(found: Witness, number: Callable[[float], str]) -> Text:
    """What was saved and how large the difference is, or why nothing was; `number` formats a deviation."""
    if not found.path or found.deviation is None:
        return Text.assemble(("Witness  ", "dim"), found.note)
    size = "not a number" if math.isnan(found.deviation) else number(found.deviation)
    return Text.assemble(
        ("Witness  ", "dim"), f"{found.path}: {found.note}; maximum deviation {size} ({found.pair}); replay it with"
    )


def replay(found: Witness | None) -> str:
    """The command on one line, however wide: a line broken here could not be pasted into a shell."""
    if found is None or not found.command:
        return ""
    command = shlex.join(found.command)
    return printable(command, len(command) * 10) + "\n"
