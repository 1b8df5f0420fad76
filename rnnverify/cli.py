"""The command line: parse, call one function, print one string, exit."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rnnverify.errors import EXIT_ERROR
from rnnverify.options import (
    Activation,
    ActivationError,
    Atol,
    ConfigFile,
    Debug,
    Dtype,
    DtypeOption,
    Engine,
    EngineOption,
    FailFast,
    Force,
    Format,
    FormatOption,
    GoBackwards,
    Inputs,
    Jobs,
    Memory,
    MergeMode,
    Only,
    Output,
    Probes,
    Python,
    Reports,
    Rtol,
    SaveWitness,
    Search,
    Seed,
    Sequences,
    ShowCode,
    Steps,
    Timeout,
    ToOption,
    Trust,
    Update,
    UpToSymmetry,
    WriteFixed,
)

if TYPE_CHECKING:
    from rnnverify.beside import Beside
    from rnnverify.native import Limits
    from rnnverify.verify import Options

app = typer.Typer(
    name="rnnverify",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    rnnverify record model.h5 -o case.zip           record a run, to compare with elsewhere
    rnnverify judge result.json --atol 1e-4         a saved result by another tolerance
    rnnverify convert model.h5 model.pt             the same network for another framework
    rnnverify check                                 every comparison of rnnverify.toml, in one go

    \b
    Exit codes: 0 the same (IDENTICAL, EQUIVALENT, or CLOSE by your tolerance)
                1 DIFFERENT
                2 the comparison could not be made
                3 INCONCLUSIVE: nothing differed, but these inputs could not have shown it
    """


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
    probes: Probes = True,
    activation: Activation = None,
    merge_mode: MergeMode = None,
    go_backwards: GoBackwards = None,
    engine: EngineOption = Engine.auto,
    dtype: DtypeOption = None,
    python: Python = None,
    up_to_symmetry: UpToSymmetry = False,
    trust: Trust = None,
    search: Search = False,
    save_witness: SaveWitness = None,
    write_fixed: WriteFixed = None,
    atol: Atol = 0.0,
    rtol: Rtol = 0.0,
    activation_error: ActivationError = None,
    timeout: Timeout = 600.0,
    memory: Memory = 0.0,
    format: FormatOption = Format.terminal,
    output: Output = None,
    reports: Reports = None,
    debug: Debug = False,
) -> None:
    """Compare model files, or traces, each against the first.

    \b
    rnnverify compare model.h5 model.pt
    rnnverify compare model.keras checkpoint.pt#encoder.rnn --activation relu
    rnnverify compare tf:logs/ model.pt --inputs sequences.npy --format json -o result.json
    """

    from rnnverify.beside import Beside

    beside = Beside(reports or ())

    def work() -> tuple[str, int]:
        beside.prepare(output)
        from rnnverify.comparison import Tolerance
        from rnnverify.fixing import check_fixed
        from rnnverify.fixing import write_fixed as fix
        from rnnverify.reports import report
        from rnnverify.step import parse_allowed
        from rnnverify.verify import compare as compare_sides

        made = (sequences, steps, seed, inputs, probes)
        options = replace(
            _options(made, (activation, merge_mode, go_backwards), engine, dtype, python, _limits(timeout, memory)),
            tolerance=Tolerance(atol, rtol),
            activation_error=parse_allowed(activation_error) if activation_error is not None else None,
            up_to_symmetry=up_to_symmetry,
            trust=tuple(label.upper() for label in trust or ()),
            search=search,
            save_witness=save_witness,
        )
        if write_fixed:
            check_fixed(sides, write_fixed)
        result = compare_sides(*sides, options=options)
        if write_fixed:
            result = fix(result, sides, write_fixed, options)
        width, color = _console(output)
        text = report(format.value).render(result, width=width, color=color)
        beside.made(result)
        return text, result.exit_code

    _report(work, format, output, debug, beside)


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
        from rnnverify.reports import report

        width, color = _console(output)
        return report(format.value).render_inspection(inspect_file(file), width=width, color=color), 0

    _report(work, format, output, debug)


@app.command("record", no_args_is_help=True)
@app.command("run", no_args_is_help=True)
def run(
    file: Annotated[str, typer.Argument(metavar="[keras:|torch:|tf:]PATH[#PART]", help="A model file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the trace goes, .npz or .zip.")],
    sequences: Sequences = 8,
    steps: Steps = 32,
    seed: Seed = 0,
    inputs: Inputs = None,
    probes: Probes = True,
    activation: Activation = None,
    merge_mode: MergeMode = None,
    go_backwards: GoBackwards = None,
    engine: EngineOption = Engine.auto,
    dtype: DtypeOption = None,
    python: Python = None,
    timeout: Timeout = 600.0,
    memory: Memory = 0.0,
    debug: Debug = False,
) -> None:
    """Run a file in its own framework and write a trace, which stands wherever a model file stands.

    `record` and `run` are the same. A trace holds inputs and states, hashes of inputs and weights, and the environment.

    \b
    rnnverify record model.h5 -o case.zip
    rnnverify compare case.zip model.pt
    """

    def work() -> tuple[str, int]:
        from rnnverify.verify import run as run_side

        made = (sequences, steps, seed, inputs, probes)
        options = _options(
            made, (activation, merge_mode, go_backwards), engine, dtype, python, _limits(timeout, memory)
        )
        trace = run_side(file, output, options)
        return f"{output}: {trace.provenance['network']}, {trace.provenance['how']}\n", 0

    _report(work, Format.terminal, None, debug)


@app.command()
def check(
    config: ConfigFile = None,
    only: Only = None,
    update: Update = False,
    fail_fast: FailFast = False,
    jobs: Jobs = 1,
    timeout: Timeout = 600.0,
    memory: Memory = 0.0,
    format: FormatOption = Format.terminal,
    output: Output = None,
    debug: Debug = False,
) -> None:
    """Make every comparison that rnnverify.toml declares, in one go.

    \b
    rnnverify check
    rnnverify check --only 'encoder*' --fail-fast
    rnnverify check --update    # accept what passes as rnnverify.lock; later runs fail where a deviation grows
    """

    def work() -> tuple[str, int]:
        from rnnverify.check import How
        from rnnverify.check import check as check_all
        from rnnverify.config import find_config, read_config
        from rnnverify.reports.checked import progress, render

        how = How(tuple(only or ()), fail_fast, jobs, update, _limits(timeout, memory))
        declared = read_config(config or find_config())
        with progress() as shown:
            checked = check_all(declared, how, shown)
        width, color = _console(output)
        return render(checked, format.value, width=width, color=color), checked.exit_code

    _report(work, format, output, debug)


@app.command(no_args_is_help=True)
def convert(
    source: Annotated[str, typer.Argument(metavar="[keras:|torch:|tf:]PATH[#PART]", help="A model file.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="What to write; its suffix says in which form.")],
    to: ToOption = None,
    force: Force = False,
    show_code: ShowCode = False,
    sequences: Sequences = 8,
    steps: Steps = 32,
    seed: Seed = 0,
    inputs: Inputs = None,
    probes: Probes = True,
    activation: Activation = None,
    merge_mode: MergeMode = None,
    go_backwards: GoBackwards = None,
    engine: EngineOption = Engine.auto,
    timeout: Timeout = 600.0,
    memory: Memory = 0.0,
    format: FormatOption = Format.terminal,
    output: Output = None,
    debug: Debug = False,
) -> None:
    """Write a network in the layout of another framework, and keep the file only if it is the same network.

    \b
    rnnverify convert model.h5 model.pt
    rnnverify convert model.pt#encoder.rnn model.keras --activation relu --show-code

    \b
    .pt .pth .safetensors .npz    PyTorch: a state_dict
    .h5 .keras .weights.h5        Keras: a model, or its weights
    .ckpt                         TensorFlow: a checkpoint of BasicRNNCell, with its graph
    """

    def work() -> tuple[str, int]:
        from rnnverify.conversion import convert as convert_file
        from rnnverify.reports import report

        made = (sequences, steps, seed, inputs, probes)
        options = _options(made, (activation, merge_mode, go_backwards), engine, None, None, _limits(timeout, memory))
        form = to.value if to else None
        result = convert_file(source, target, options, to=form, force=force, show_code=show_code)
        width, color = _console(output)
        return report(format.value).render_conversion(result, width=width, color=color), result.exit_code

    _report(work, format, output, debug)


@app.command(no_args_is_help=True)
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
        from rnnverify.comparison import Tolerance
        from rnnverify.reports import report
        from rnnverify.saved import judge_again

        again = judge_again(result, Tolerance(atol, rtol))
        width, color = _console(output)
        text = report(format.value).render(again, width=width, color=color)
        beside.made(again)
        return text, again.exit_code

    _report(work, format, output, debug, beside)


def _options(
    made: tuple[int, int, int, Path | None, bool],
    assumed: tuple[list[str] | None, ...],
    engine: Engine,
    dtype: Dtype | None,
    pythons: list[str] | None,
    limits: Limits,
) -> Options:
    from rnnverify.assumptions import Assumed
    from rnnverify.inputs import InputOptions
    from rnnverify.verify import Options

    return Options(
        inputs=InputOptions(*made),
        assumed=Assumed(*(tuple(given or ()) for given in assumed)),
        engine=engine.value,
        limits=limits,
        dtype=dtype.value if dtype else None,
        pythons=tuple(pythons or ()),
    )


def _limits(seconds: float, gibibytes: float) -> Limits:
    from rnnverify.native import Limits

    return Limits(seconds, int(gibibytes * 2**30) if 0 <= gibibytes < 2**30 else -1)


def _console(output: Path | None) -> tuple[int, bool]:
    """The width, and whether there are colours, that rich finds on this terminal; plain and 100 wide into a file."""
    if output is not None:
        return 100, False
    from rich.console import Console

    console = Console()
    return console.width, console.is_terminal and not console.no_color and console.color_system is not None


def _report(
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


def _end(signal_number: int, _: object) -> None:
    """A polite end: the runners are stopped and their folder removed on the way out."""
    raise SystemExit(128 + signal_number)


def main() -> None:
    """The `rnnverify` command."""
    gc.disable()  # short-lived, and what is large is freed by reference counts
    # one BLAS thread: OpenBLAS burns more at its start than a second thread gives beside two busy runners
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _end)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console without block characters prints ? instead of failing
    app()
