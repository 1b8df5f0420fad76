"""What was given on the command line, as the library takes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rnnverify.cli.options import Dtype, Engine

if TYPE_CHECKING:
    from rnnverify.options import Options
    from rnnverify.runner_process import Limits


def comparison_options(
    made: tuple[int, int, int, Path | None, bool, str | None],
    assumed: tuple[list[str] | None, ...],
    engine: Engine,
    dtype: Dtype | None,
    pythons: list[str] | None,
    limits: Limits,
) -> Options:
    """`made` are sequences, steps, seed, file, probes and lengths; `assumed` is what files may leave open, as `Assumed`
    has it.

    Raises OptionError, or InputsError.
    """
    from rnnverify.assumptions import Assumed
    from rnnverify.inputs import InputOptions, parse_lengths
    from rnnverify.options import Options

    sequences, steps, seed, file, probes, given = made
    lengths = parse_lengths(given) if given is not None else ()
    return Options(
        inputs=InputOptions(sequences, steps, seed, file, probes, lengths),
        assumed=Assumed(*(tuple(given or ()) for given in assumed)),
        engine=engine.value,
        limits=limits,
        dtype=dtype.value if dtype else None,
        pythons=tuple(pythons or ()),
    )


def limits_of(seconds: float, gibibytes: float) -> Limits:
    """Of a runner; a memory limit out of range is left to Limits to refuse. Raises OptionError."""
    from rnnverify.runner_process import Limits

    return Limits(seconds, int(gibibytes * 2**30) if 0 <= gibibytes < 2**30 else -1)
