"""`rnnverify compare`: model files, or traces, each against the first."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from rnnverify.cli.given import comparison_options, limits_of
from rnnverify.cli.leaving import console, leave_with
from rnnverify.cli.options import (
    Activation,
    ActivationError,
    Atol,
    Debug,
    DtypeOption,
    Engine,
    EngineOption,
    ForgetBias,
    Format,
    FormatOption,
    GateActivation,
    GoBackwards,
    GruReset,
    Inputs,
    Lengths,
    Memory,
    MergeMode,
    Output,
    Probes,
    Python,
    Reports,
    Rtol,
    SaveWitness,
    Search,
    Seed,
    Sequences,
    Steps,
    Timeout,
    Trust,
    UpToSymmetry,
    WholeModel,
    WriteFixed,
)


def compare(
    sides: Annotated[
        list[str],
        typer.Argument(
            metavar="[FRAMEWORK:]PATH[#PART] ...",
            help="Model files or traces, the first one the baseline. FRAMEWORK: keras, torch, tf, flax, equinox, onnx.",
        ),
    ],
    sequences: Sequences = 8,
    steps: Steps = 32,
    seed: Seed = 0,
    inputs: Inputs = None,
    lengths: Lengths = None,
    probes: Probes = True,
    activation: Activation = None,
    merge_mode: MergeMode = None,
    go_backwards: GoBackwards = None,
    gate_activation: GateActivation = None,
    gru_reset: GruReset = None,
    forget_bias: ForgetBias = None,
    engine: EngineOption = Engine.auto,
    dtype: DtypeOption = None,
    python: Python = None,
    up_to_symmetry: UpToSymmetry = False,
    whole_model: WholeModel = True,
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
        from rnnverify.deviation import Tolerance
        from rnnverify.reports import report
        from rnnverify.step import parse_allowed
        from rnnverify.verify import compare as compare_sides

        made = (sequences, steps, seed, inputs, probes, lengths)
        assumed = (activation, merge_mode, go_backwards, gate_activation, gru_reset, forget_bias)
        limits = limits_of(timeout, memory)
        options = replace(
            comparison_options(made, assumed, engine, dtype, python, limits),
            tolerance=Tolerance(atol, rtol),
            activation_error=parse_allowed(activation_error) if activation_error is not None else None,
            up_to_symmetry=up_to_symmetry,
            whole_model=whole_model,
            trust=tuple(label.upper() for label in trust or ()),
            search=search,
            save_witness=save_witness,
        )
        if write_fixed:
            from rnnverify.fixing import check_fixed
            from rnnverify.fixing import write_fixed as fix

            check_fixed(sides, write_fixed)
        result = compare_sides(*sides, options=options)
        if write_fixed:
            result = fix(result, sides, write_fixed, options)
        width, color = console(output)
        text = report(format.value).render(result, width=width, color=color)
        beside.made(result)
        return text, result.exit_code

    leave_with(work, format, output, debug, beside)
