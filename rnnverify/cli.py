"""The command line: parse, call one function, print one string, exit."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from rnnverify.errors import RnnverifyError
    from rnnverify.verify import Options

EXIT_ERROR = 2

app = typer.Typer(
    name="rnnverify",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Engine(str, Enum):
    """Who runs the sides."""

    auto = "auto"
    native = "native"
    reference = "reference"


class Format(str, Enum):
    """Of the report."""

    terminal = "terminal"
    json = "json"


def _show_version(wanted: bool) -> None:
    if wanted:
        from rnnverify import __version__

        typer.echo(f"rnnverify {__version__}")
        raise typer.Exit


@app.callback()
def rnnverify(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Is the recurrent network you moved to another framework still the same network?

    \b
    rnnverify compare model.h5 model.pt             two files, each run by its own framework
    rnnverify compare model.h5 model.pt model.ckpt  more, each against the first
    rnnverify inspect model.pt                      what a file holds, and how it is read
    rnnverify run model.h5 -o trace.npz             record a run, to compare with elsewhere

    \b
    Exit codes: 0 the same (IDENTICAL, EQUIVALENT, or CLOSE by your tolerance)
                1 DIFFERENT
                2 the comparison could not be made
                3 INCONCLUSIVE: nothing differed, but these inputs could not have shown it
    """


Sequences = Annotated[int, typer.Option(help="How many input sequences to make.")]
Steps = Annotated[int, typer.Option(help="Steps in each sequence.")]
Seed = Annotated[int, typer.Option(help="The same seed makes the same inputs on every machine.")]
Inputs = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads the annotation at run time, on Python 3.10 too
    typer.Option(metavar="FILE", help="Use the sequences of a .npy or .npz, shape (B, T, I), instead."),
]
Activation = Annotated[
    Optional[list[str]],  # noqa: UP045 - as above
    typer.Option(metavar="[SIDE=]NAME", help="For files that do not state it: relu, or B=relu for one side."),
]
EngineOption = Annotated[
    Engine,
    typer.Option(help="native: own framework or fail; auto: reference where one is missing; reference: NumPy only."),
]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="Time limit of a runner.")]
Memory = Annotated[float, typer.Option(metavar="GIB", help="Memory limit of a runner; 0: none.")]
FormatOption = Annotated[Format, typer.Option("--format", help="Of the report.")]
Output = Annotated[
    Optional[Path],  # noqa: UP045 - as above
    typer.Option("--output", "-o", metavar="FILE", help="Write the report here instead of to the terminal."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@app.command(no_args_is_help=True)
def compare(
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="[keras:|torch:|tf:]PATH[#PART] ...", help="Model files or traces; the first is the baseline."
        ),
    ],
    sequences: Sequences = 8,
    steps: Steps = 32,
    seed: Seed = 0,
    inputs: Inputs = None,
    activation: Activation = None,
    engine: EngineOption = Engine.auto,
    atol: Annotated[float, typer.Option(help="Call CLOSE what differs by no more than this plus rtol.")] = 0.0,
    rtol: Annotated[float, typer.Option(help="Relative to the baseline's state.")] = 0.0,
    timeout: Timeout = 600.0,
    memory: Memory = 0.0,
    format: FormatOption = Format.terminal,
    output: Output = None,
    debug: Debug = False,
) -> None:
    """Compare model files, or traces, each against the first.

    \b
    rnnverify compare model.h5 model.pt
    rnnverify compare model.keras checkpoint.pt#encoder.rnn --activation relu
    rnnverify compare tf:logs/ model.pt --inputs sequences.npy --format json -o result.json
    """

    def work() -> tuple[str, int]:
        from rnnverify.comparison import Tolerance
        from rnnverify.verify import compare as compare_sides

        options = _options(sequences, steps, seed, inputs, activation, engine, timeout, memory, Tolerance(atol, rtol))
        result = compare_sides(*sides, options=options)
        if format is Format.json:
            from rnnverify.reports.json import render

            return render(result), result.exit_code
        from rnnverify.reports.terminal import render as render_terminal

        return _on_console(
            lambda width, color: render_terminal(result, width=width, color=color), output
        ), result.exit_code

    _report(work, format, output, debug)


@app.command(no_args_is_help=True)
def inspect(
    file: Annotated[str, typer.Argument(metavar="[keras:|torch:|tf:]PATH[#PART]", help="A model file.")],
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

        result = inspect_file(file)
        if format is Format.json:
            from rnnverify.reports.json import render_inspection

            return render_inspection(result), 0
        from rnnverify.reports.terminal import render_inspection as render_terminal

        return _on_console(lambda width, color: render_terminal(result, width=width, color=color), output), 0

    _report(work, format, output, debug)


@app.command(no_args_is_help=True)
def run(
    file: Annotated[str, typer.Argument(metavar="[keras:|torch:|tf:]PATH[#PART]", help="A model file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.npz", help="Where the trace goes.")],
    sequences: Sequences = 8,
    steps: Steps = 32,
    seed: Seed = 0,
    inputs: Inputs = None,
    activation: Activation = None,
    engine: EngineOption = Engine.auto,
    timeout: Timeout = 600.0,
    memory: Memory = 0.0,
    debug: Debug = False,
) -> None:
    """Run a file in its own framework and write a trace, which stands wherever a model file stands.

    \b
    rnnverify run model.h5 -o trace.npz
    rnnverify compare trace.npz model.pt
    """

    def work() -> tuple[str, int]:
        from rnnverify.comparison import Tolerance
        from rnnverify.verify import run as run_side

        options = _options(sequences, steps, seed, inputs, activation, engine, timeout, memory, Tolerance())
        trace = run_side(file, output, options)
        return f"{output}: {trace.provenance['network']}, {trace.provenance['how']}\n", 0

    _report(work, Format.terminal, None, debug)


def _options(
    sequences: int,
    steps: int,
    seed: int,
    inputs: Path | None,
    activation: list[str] | None,
    engine: Engine,
    timeout: float,
    memory: float,
    tolerance: object,
) -> Options:
    from rnnverify.comparison import Tolerance
    from rnnverify.inputs import InputOptions
    from rnnverify.native import Limits
    from rnnverify.verify import Options

    assert isinstance(tolerance, Tolerance)
    return Options(
        inputs=InputOptions(sequences, steps, seed, inputs),
        tolerance=tolerance,
        activations=tuple(activation or ()),
        engine=engine.value,
        limits=Limits(timeout, int(memory * 2**30)),
    )


def _on_console(render: Callable[[int, bool], str], output: Path | None) -> str:
    """`render` at the width and with the colours that rich finds on this terminal, plain into a file."""
    from rich.console import Console

    console = Console()
    color = output is None and console.is_terminal and not console.no_color and console.color_system is not None
    return render(console.width if output is None else 100, color)


def _report(work: Callable[[], tuple[str, int]], format: Format, output: Path | None, debug: bool) -> None:
    """Print or write what `work` returns and leave with its exit code; an error is one line and exit code 2."""
    from rnnverify.errors import RnnverifyError

    try:
        text, code = work()
    except RnnverifyError as error:
        if debug:
            _show_traceback(error)
        typer.echo(f"error: {error}", err=True)
        if format is Format.json:
            from rnnverify.reports.json import render_error

            _emit(render_error(error), output)
        raise typer.Exit(EXIT_ERROR) from None
    _emit(text, output)
    raise typer.Exit(code)


def _show_traceback(error: RnnverifyError) -> None:
    import traceback

    traceback.print_exception(error)
    details = getattr(error, "details", "")
    if details:
        typer.echo(f"\nIn the runner:\n{details}", err=True)


def _emit(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    partial = output.with_name(output.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(output)
    except OSError as error:
        partial.unlink(missing_ok=True)
        typer.echo(f"error: {output}: cannot be written ({error.strerror}); choose another place with -o", err=True)
        raise typer.Exit(EXIT_ERROR) from None


def main() -> None:
    """The `rnnverify` command."""
    gc.disable()  # short-lived, and what is large is freed by reference counts
    # one BLAS thread: OpenBLAS burns more at its start than a second thread gives beside two busy runners
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console without block characters prints ? instead of failing
    app()
