"""`rnnverify judge`: a saved result by another tolerance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnnverify.cli.leaving import console, leave_with
from rnnverify.cli.options import Atol, Debug, Format, FormatOption, Output, Reports, Rtol


def judge(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="Saved with --format json -o RESULT.json.")],
    atol: Atol = 0.0,
    rtol: Rtol = 0.0,
    format: FormatOption = Format.terminal,
    output: Output = None,
    reports: Reports = None,
    debug: Debug = False,
) -> None:
    """Judge a saved result by another tolerance, exactly, without running anything.

    \b
    rnnverify compare model.h5 model.pt --format json -o result.json
    rnnverify judge result.json --atol 1e-4
    """

    from rnnverify.beside import Beside

    beside = Beside(reports or ())

    def work() -> tuple[str, int]:
        beside.prepare(output)
        from rnnverify.deviation import Tolerance
        from rnnverify.reports import report
        from rnnverify.saved import judge_again

        again = judge_again(result, Tolerance(atol, rtol))
        width, color = console(output)
        text = report(format.value).render(again, width=width, color=color)
        beside.made(again)
        return text, again.exit_code

    leave_with(work, format, output, debug, beside)
