"""All commands, in the order of `rnnverify --help`."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnverify.cli.check import check
from rnnverify.cli.compare import compare
from rnnverify.cli.convert import convert
from rnnverify.cli.inspect import inspect
from rnnverify.cli.judge import judge
from rnnverify.cli.record import record

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


app.command(no_args_is_help=True)(compare)
app.command(no_args_is_help=True)(inspect)
app.command("record", no_args_is_help=True)(record)
app.command("run", no_args_is_help=True)(record)
app.command()(check)
app.command(no_args_is_help=True)(convert)
app.command(no_args_is_help=True)(judge)
