"""The options of the command line, each defined once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer


class Engine(str, Enum):
    """Who runs the sides."""

    auto = "auto"
    native = "native"
    reference = "reference"


class Dtype(str, Enum):
    """What the sides compute in."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"
    float64 = "float64"


class Format(str, Enum):
    """Of the report."""

    terminal = "terminal"
    json = "json"


class To(str, Enum):
    """What a network is converted to."""

    pt = "pt"
    safetensors = "safetensors"
    npz = "npz"
    weights_h5 = "weights.h5"
    h5 = "h5"
    keras = "keras"
    flax = "flax"
    flax_npz = "flax.npz"
    flax_safetensors = "flax.safetensors"
    nnx = "nnx"
    nnx_npz = "nnx.npz"
    nnx_safetensors = "nnx.safetensors"
    equinox = "equinox"
    onnx = "onnx"
    ckpt = "ckpt"


Sequences = Annotated[int, typer.Option(help="How many input sequences to make.")]
Steps = Annotated[int, typer.Option(help="Steps in each sequence.")]
Seed = Annotated[int, typer.Option(help="The same seed makes the same inputs on every machine.")]
Inputs = Annotated[
    Optional[Path],  # noqa: UP045 - typer reads the annotation at run time, on Python 3.10 too
    typer.Option(
        metavar="FILE", help="Use the sequences of a .npy or .npz, shape (B, T, I), or tokens (B, T), instead."
    ),
]
Lengths = Annotated[
    Optional[str],  # noqa: UP045 - as above
    typer.Option(metavar="N,N,...", help="Also run padded sequences of these lengths, again and again: 5,12,32."),
]
Probes = Annotated[
    bool, typer.Option("--probes/--no-probes", help="One-step calls that confine every weight of a side.")
]
Search = Annotated[
    bool, typer.Option("--search/--no-search", help="Look for the worst inputs by gradient, and run those too.")
]
SaveWitness = Annotated[
    Optional[Path],  # noqa: UP045 - as above
    typer.Option(metavar="FILE.npz", help="Where DIFFERENT: the smallest case that shows it, and how to replay it."),
]
WriteFixed = Annotated[
    Optional[Path],  # noqa: UP045 - as above
    typer.Option(metavar="FILE", help="Where weights differ: the baseline's network in the form of the other file."),
]
ToOption = Annotated[
    Optional[To],  # noqa: UP045 - as above
    typer.Option("--to", help="The form to write, where the suffix does not say it."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is at the target.")]
ShowCode = Annotated[bool, typer.Option("--show-code", help="Print the lines that port these weights by hand.")]
Activation = Annotated[
    Optional[list[str]],  # noqa: UP045 - as above
    typer.Option(metavar="[SIDE=]NAME", help="For files that do not state it: relu, or B=relu for one side."),
]
MergeMode = Annotated[
    Optional[list[str]],  # noqa: UP045 - as above
    typer.Option(metavar="[SIDE=]MODE", help="For weights-only Keras files: concat, sum, mul or ave."),
]
GoBackwards = Annotated[
    Optional[list[str]],  # noqa: UP045 - as above
    typer.Option(metavar="SIDE", help="For weights-only Keras files: that side runs backwards."),
]
GateActivation = Annotated[
    Optional[list[str]],  # noqa: UP045 - as above
    typer.Option(metavar="[SIDE=]NAME", help="Of GRU and LSTM, where not stated: sigmoid, hard_sigmoid, ..."),
]
GruReset = Annotated[
    Optional[list[str]],  # noqa: UP045 - as above
    typer.Option(metavar="[SIDE=]WHEN", help="Where not stated: reset before or after the recurrent product."),
]
ForgetBias = Annotated[
    Optional[list[str]],  # noqa: UP045 - as above
    typer.Option(metavar="[SIDE=]NUMBER", help="Added by an LSTM at run time, where not stated."),
]
Python = Annotated[
    Optional[list[str]],  # noqa: UP045 - as above
    typer.Option(metavar="SIDE=PATH", help="Run that side in another interpreter (3.7 or later), with its framework."),
]
DtypeOption = Annotated[
    Optional[Dtype],  # noqa: UP045 - as above
    typer.Option("--dtype", help="Run the sides in this dtype, and allow what it rounds; else the file's own."),
]
ActivationError = Annotated[
    Optional[str],  # noqa: UP045 - as above
    typer.Option(metavar="ULPS[,U]", help="What an activation may be off, in ulps and in multiples of the roundoff u."),
]
WholeModel = Annotated[
    bool, typer.Option("--whole-model/--no-whole-model", help="Compare embeddings and dense layers around, too.")
]
UpToSymmetry = Annotated[
    bool, typer.Option("--up-to-symmetry", help="Let hidden units stand in another order, sign or scale.")
]
Trust = Annotated[
    Optional[list[str]],  # noqa: UP045 - as above
    typer.Option(metavar="SIDE", help="Let the framework of that side run code that its file brings."),
]
EngineOption = Annotated[
    Engine,
    typer.Option(help="native: own framework or fail; auto: reference where one is missing; reference: NumPy only."),
]
Atol = Annotated[float, typer.Option(help="Call CLOSE what differs by no more than this plus rtol.")]
Rtol = Annotated[float, typer.Option(help="Relative to the baseline's state.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="Time limit of the runner of one framework.")]
Memory = Annotated[float, typer.Option(metavar="GIB", help="Memory limit of a runner; 0: what the machine has.")]
FormatOption = Annotated[Format, typer.Option("--format", help="Of the report.")]
Output = Annotated[
    Optional[Path],  # noqa: UP045 - as above
    typer.Option("--output", "-o", metavar="FILE", help="Write the report here instead of to the terminal."),
]
ConfigFile = Annotated[
    Optional[Path],  # noqa: UP045 - as above
    typer.Option("--config", metavar="FILE", help="Else rnnverify.toml, or [tool.rnnverify] in pyproject.toml."),
]
Only = Annotated[
    Optional[list[str]],  # noqa: UP045 - as above
    typer.Option(metavar="NAME", help="Only the comparison of that name; * stands for any part of it."),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")]
Jobs = Annotated[int, typer.Option(help="Workers on this machine; more than one needs the extra dask.")]
Scheduler = Annotated[str, typer.Option(metavar="tcp://HOST:PORT", help="Run on the Dask cluster of that scheduler.")]
Update = Annotated[bool, typer.Option("--update", help="Accept what passes: write rnnverify.lock.")]
Reports = Annotated[
    Optional[list[str]],  # noqa: UP045 - as above
    typer.Option("--report", metavar="FORMAT=FILE", help="Another report beside, as often as wanted; see README."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
