"""What a file holds, without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rnnverify.assumptions.gates import settle_gates
from rnnverify.errors import OptionError
from rnnverify.sides import open_side, parse
from rnnverify.weights import structure


@dataclass(frozen=True)
class TensorLine:
    """One tensor of the file, and where it went."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str  # such as "layer 0 kernel (transposed)"; "" where it is not compared
    unused: str  # why it is not compared; "" where it is


@dataclass(frozen=True)
class Inspection:
    """The reading of one model file."""

    source: str
    form: str
    framework: str
    writer: str
    part: str
    shape: str
    tensors: tuple[TensorLine, ...]
    canonical: Mapping[str, tuple[int, ...]]  # canonical tensor name -> shape (G, ...)
    parameter_counts: Mapping[str, int]  # layout -> how many numbers it stores
    assumptions: tuple[str, ...]
    not_compared: tuple[str, ...]
    notes: tuple[str, ...]
    weights_fingerprint: str


def inspect(source: str | Path) -> Inspection:
    """Read a model file and say what was found. Raises FileError and its kinds."""
    side = open_side(parse(str(source), "A"))
    if side.contents is None or side.reading is None:
        raise OptionError(f"{side.source}: is a trace, not a model; compare takes it as a side")
    (settled,) = settle_gates([side], (), (), ())
    assert settled.reading is not None
    contents, reading = side.contents, settled.reading
    activation = reading.network.layers[0].activation
    assumed = (
        () if reading.activation_stated else (f"activation {activation}: not in the file, the framework's default",)
    )
    return Inspection(
        source=str(side.source),
        form=contents.form,
        framework=reading.recipe.framework,
        writer=contents.writer,
        part=reading.part,
        shape=structure(reading.network),
        tensors=tuple(
            TensorLine(name, t.shape, t.dtype, reading.roles.get(name, ""), reading.unused.get(name, ""))
            for name, t in contents.tensors.items()
        ),
        canonical={name: array.shape for name, array in reading.network.tensors()},
        parameter_counts=reading.network.parameter_counts(),
        assumptions=(*assumed, *map(_without_option, reading.assumptions), *reading.around.assumptions),
        not_compared=reading.not_compared,
        notes=(*contents.notes, *reading.notes),
        weights_fingerprint=reading.network.fingerprint(),
    )


def _without_option(text: str) -> str:
    """An assumption without the option that settles it: `inspect` takes none."""
    return text.partition(" (--")[0]
