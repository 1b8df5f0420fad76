"""What runners are asked to do: files to run and files to write, and what a request has to say of them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.adapters.layout import Layout
from rnnverify.adapters.reading import Reading
from rnnverify.canonical import GATES, Direction, Layer
from rnnverify.containers.contents import FrameworkName
from rnnverify.trace import Batch

RUNTIMES: dict[FrameworkName, str] = {
    "keras": "tensorflow",
    "torch": "torch",
    "tensorflow": "tensorflow",
    "flax": "jax",
    "equinox": "jax",
    "onnx": "onnx",
}

_SMALL = 1e8  # floating-point operations below which a second thread costs more than it gives


@dataclass(frozen=True)
class Job:
    """One file to run: what was read from it, and on which inputs."""

    label: str
    source: str  # for messages
    path: Path
    reading: Reading
    batches: tuple[Batch, ...]
    dtype: str | None = None  # to compute in; None: what the weights are stored in
    trusted: bool = False  # its framework may run code that the file brings
    python: str = sys.executable  # the interpreter to run it in
    head: bool = False  # whether the dense layers behind are run, too

    @property
    def runtime(self) -> tuple[str, str]:
        """Which process serves it: an interpreter, and a framework inside."""
        return self.python, RUNTIMES[self.reading.recipe.framework]


@dataclass(frozen=True)
class Order:
    """One file to write: a network as its framework lays it out, and where it goes."""

    source: str  # for messages
    layout: Layout
    input_size: int
    path: Path
    form: str  # which of the framework's own forms

    @property
    def runtime(self) -> tuple[str, str]:
        """As that of a job: files are written by this interpreter."""
        return sys.executable, RUNTIMES[self.layout.framework]


def gates_of(layer: Layer) -> dict[str, Any]:
    """What a runner has to know of a gated layer that it makes itself."""
    gating = layer.gating
    return {
        "cell": layer.cell,
        "gate_activation": gating.activation,
        "output_activation": gating.output or layer.activation,
        "reset_after": gating.reset_after,
        "cell_clip": gating.cell_clip,
        "forget_bias": [_added(direction) for direction in layer.directions] if layer.cell == "lstm" else [],
    }


def _added(direction: Direction) -> float:
    """The forget bias that is added at run time, where `bias_recurrent` holds nothing else; otherwise 0."""
    forget = direction.bias_recurrent[GATES["lstm"].index("f")]
    return float(forget[0]) if (forget == forget[0]).all() else 0.0


def head_of(reading: Reading) -> list[dict[str, Any]]:
    """The dense layers behind, as the runner makes them."""
    head = reading.around.head
    assert head is not None
    both = zip(reading.recipe.head, head.layers, strict=True)
    return [{**spec, "activation": dense.activation} for spec, dense in both]


def what(job: Job) -> str:
    """What is run, by value. A file held against itself is run twice: the label tells the two apart."""
    network, recipe = job.reading.network, job.reading.recipe
    batches = [(batch.name, batch.fingerprint()) for batch in job.batches]
    parts = (
        job.label,
        job.runtime,
        str(job.path.absolute()),
        recipe.layers,
        recipe.loadable,
        job.dtype,
        job.trusted,
        job.head,
        batches,
    )
    return f"{network.fingerprint()} {network.dtype} {parts}"


def compute_dtype(stored: np.dtype[Any]) -> str:
    """What a side computes in: float64 where its weights are, else float32 (narrower weights are widened exactly)."""
    return "float64" if stored == np.float64 else "float32"


def computing_dtype(job: Job) -> str:
    return job.dtype or compute_dtype(job.reading.network.dtype)


def threads(job: Job) -> int:
    weights = sum(array.size for _, array in job.reading.network.tensors())
    operations = sum(2.0 * weights * batch.x.shape[0] * batch.x.shape[1] for batch in job.batches)
    return 1 if operations < _SMALL else (os.cpu_count() or 1)
