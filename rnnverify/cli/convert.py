"""`rnnverify convert`: the same network for another framework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rnnverify.cli.given import comparison_options, limits_of
from rnnverify.cli.leaving import console, leave_with
from rnnverify.cli.options import (
    Activation,
    Debug,
    Engine,
    EngineOption,
    Force,
    ForgetBias,
    Format,
    FormatOption,
    GateActivation,
    GoBackwards,
    GruReset,
    Inputs,
    Memory,
    MergeMode,
    Output,
    Probes,
    Seed,
    Sequences,
    ShowCode,
    Steps,
    Timeout,
    ToOption,
)


def convert(
    source: Annotated[str, typer.Argument(metavar="[FRAMEWORK:]PATH[#PART]", help="A model file.")],
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
    gate_activation: GateActivation = None,
    gru_reset: GruReset = None,
    forget_bias: ForgetBias = None,
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
    .msgpack .flax.npz            Flax: parameters of linen; of nnx .nnx.msgpack .nnx.npz
    .eqx                          Equinox: the leaves of its cells
    .onnx                         ONNX
    .ckpt                         TensorFlow: a checkpoint of BasicRNNCell, with its graph
    """

    def work() -> tuple[str, int]:
        from rnnverify.conversion import convert as convert_file
        from rnnverify.reports import report

        made = (sequences, steps, seed, inputs, probes, None)
        assumed = (activation, merge_mode, go_backwards, gate_activation, gru_reset, forget_bias)
        limits = limits_of(timeout, memory)
        options = comparison_options(made, assumed, engine, None, None, limits)
        form = to.value if to else None
        result = convert_file(source, target, options, to=form, force=force, show_code=show_code)
        width, color = console(output)
        return report(format.value).render_conversion(result, width=width, color=color), result.exit_code

    leave_with(work, format, output, debug)
