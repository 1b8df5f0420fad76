"""`rnnverify record`: a run of a file, to compare with elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnnverify.cli.given import comparison_options, limits_of
from rnnverify.cli.leaving import leave_with
from rnnverify.cli.options import (
    Activation,
    Debug,
    DtypeOption,
    Engine,
    EngineOption,
    ForgetBias,
    Format,
    GateActivation,
    GoBackwards,
    GruReset,
    Inputs,
    Lengths,
    Memory,
    MergeMode,
    Probes,
    Python,
    Seed,
    Sequences,
    Steps,
    Timeout,
)


def record(
    file: Annotated[str, typer.Argument(metavar="[FRAMEWORK:]PATH[#PART]", help="A model file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the trace goes, .npz or .zip.")],
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
        from rnnverify.record import run as run_side

        made = (sequences, steps, seed, inputs, probes, lengths)
        assumed = (activation, merge_mode, go_backwards, gate_activation, gru_reset, forget_bias)
        limits = limits_of(timeout, memory)
        options = comparison_options(made, assumed, engine, dtype, python, limits)
        trace = run_side(file, output, options)
        return f"{output}: {trace.provenance['network']}, {trace.provenance['how']}\n", 0

    leave_with(work, Format.terminal, None, debug)
