"""How a command ends: one string printed or written, and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rnnverify.cli.options import Format
from rnnverify.errors import EXIT_ERROR

if TYPE_CHECKING:
    from rnnverify.beside import Beside


def console(output: Path | None) -> tuple[int, bool]:
    """The width, and whether there are colours, that rich finds on this terminal; plain and 100 wide into a file."""
    if output is not None:
        return 100, False
    from rich.console import Console

    found = Console()
    return found.width, found.is_terminal and not found.no_color and found.color_system is not None


def leave_with(
    work: Callable[[], tuple[str, int]], format: Format, output: Path | None, debug: bool, beside: Beside | None = None
) -> None:
    """Print or write what `work` returns and leave with its exit code; an error is one line and exit code 2."""
    from rnnverify.errors import OutputError, RnnverifyError, as_sentence

    try:
        text, code = work()
        _emit(text, output)
    except Exception as problem:
        error = as_sentence(problem)
        if debug:
            import traceback

            traceback.print_exception(problem)
            details = getattr(problem, "details", "")
            typer.echo(f"\nIn the runner:\n{details}" if details else "", err=True)
        typer.echo(f"error: {error}", err=True)
        if not isinstance(error, OutputError):
            from rnnverify.reports import report

            with contextlib.suppress(RnnverifyError):
                _emit(report(format.value).render_error(error), output)
            with contextlib.suppress(RnnverifyError):
                if beside:
                    beside.failed(error)
        raise typer.Exit(EXIT_ERROR) from None
    raise typer.Exit(code)


def _emit(text: str, output: Path | None) -> None:
    """Write `text` where it belongs. Raises OutputError."""
    from rnnverify.errors import OutputError
    from rnnverify.output import write_whole

    if not text:
        return
    if output is not None:
        write_whole(output, lambda file: file.write(text.encode()))
        return
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as problem:
        raise OutputError(f"standard output: cannot be written ({problem.strerror or problem})") from problem
