"""`rnnverify inspect`: what a file holds."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnverify.cli.leaving import console, leave_with
from rnnverify.cli.options import Debug, Format, FormatOption, Output


def inspect(
    file: Annotated[str, typer.Argument(metavar="[FRAMEWORK:]PATH[#PART]", help="A model file.")],
    format: FormatOption = Format.terminal,
    output: Output = None,
    debug: Debug = False,
) -> None:
    """Show what a file holds: its form and writer, every tensor and where it went, and what is assumed.

    \b
    rnnverify inspect model.pt
    rnnverify inspect checkpoint.pt#encoder.rnn --format json
    """

    def work() -> tuple[str, int]:
        from rnnverify.inspection import inspect as inspect_file
        from rnnverify.reports import report

        width, color = console(output)
        return report(format.value).render_inspection(inspect_file(file), width=width, color=color), 0

    leave_with(work, format, output, debug)
