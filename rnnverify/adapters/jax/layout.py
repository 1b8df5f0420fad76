"""What the layouts of Flax and Equinox share: files of cells alone, which hold one bias a gate and state no structure.

Only the candidate of a GRU has a second bias: its recurrent half is scaled by the reset gate, so it stays apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.layout import one_bias, summed, way, widened, widest_dtype
from rnnverify.canonical import GATES, Array, Direction, Layer, Network
from rnnverify.errors import UnsupportedError

_KERAS_OR_TF = "convert to a Keras file or a TensorFlow checkpoint"
_TENSORFLOW = "convert to a TensorFlow checkpoint"


@dataclass(frozen=True)
class Arrays:
    """The weights of one cell, gates first and in canonical order, samples being rows; all of one dtype."""

    kernel: Array  # (G, I, H)
    recurrent_kernel: Array  # (G, H, H)
    bias: Array  # (G, H): both biases as one, but for what `bias_n` holds
    bias_n: Array  # (H,): of a GRU, the recurrent bias of the candidate; else zeros
    has_bias: bool


def check(network: Network, target: Path, framework: str) -> None:
    """Raise UnsupportedError, about `target`, for what a cell of `framework` cannot compute, or its file leaves open
    without an option to say it."""
    for k, layer in enumerate(network.layers):
        if found := _beyond(layer, framework):
            raise UnsupportedError(target, f"layer {k} {found[0]}", found[1])
        if layer.merge != "concat" and k < len(network.layers) - 1:
            reason = (
                f"layer {k} merges its directions by {layer.merge} for the layer above, which a file of {framework}"
            )
            raise UnsupportedError(target, f"{reason} does not state", "convert to .keras or .h5, which do")


def _beyond(layer: Layer, framework: str) -> tuple[str, str] | None:
    """Why no cell computes `layer`, and what to do; None where one does."""
    gating, gated = layer.gating, layer.cell != "rnn"
    for name in (layer.activation, *[gating.activation] * gated):
        if name not in ACTIVATIONS:
            found = f"has the activation {name}, which a file of {framework} does not state, and no option sets"
            return found, "convert to an ONNX file"
    if any(direction.peephole is not None for direction in layer.directions):
        return f"has peepholes, which the LSTM cells of {framework} have not", _TENSORFLOW
    if any(direction.projection is not None for direction in layer.directions):
        return f"is projected, and the LSTM cells of {framework} are not", _TENSORFLOW
    if layer.cell == "lstm" and gating.cell_clip:
        return f"clips its cell state, and the LSTM cells of {framework} do not", _TENSORFLOW
    if layer.cell == "lstm" and gating.output not in ("", layer.activation):
        found = f"has the activation {layer.activation} of its candidate and {gating.output} of its cell state"
        return f"{found}, and the LSTM cells of {framework} have one for both", "convert to an ONNX file"
    if layer.cell == "gru" and not gating.reset_after:
        found = "resets its state before the recurrent product, and the GRUCell of"
        return f"{found} {framework} resets after it", _KERAS_OR_TF
    if not layer.bidirectional and layer.directions[0].reverse and layer.time_restored:
        found = "runs backward and turns its outputs back, which a file of"
        return f"{found} {framework} does not state, and no option sets", _TENSORFLOW
    return None


def arrays_of(layer: Layer, direction: Direction, target: Path, k: int) -> Arrays:
    """The weights of a direction of layer `k`, in the widest dtype of the layer. UnsupportedError where biases add up
    to more than it holds."""
    dtype: np.dtype[Any] = widest_dtype([layer])
    joined = _joined(layer, direction)
    apart = direction.bias_recurrent - joined.bias_recurrent
    return Arrays(
        kernel=direction.kernel.astype(dtype),
        recurrent_kernel=direction.recurrent_kernel.astype(dtype),
        bias=one_bias(target, f"layer {k}{way(direction.reverse)}", joined, dtype),
        bias_n=apart[GATES["gru"].index("n") if layer.cell == "gru" else 0].astype(dtype),
        has_bias=direction.has_bias or bool(direction.bias.any()),
    )


def _joined(layer: Layer, direction: Direction) -> Direction:
    """`direction` without the bias that stays apart: its other two are stored as one."""
    if layer.cell != "gru":
        return direction
    recurrent = np.array(direction.bias_recurrent)
    recurrent[GATES["gru"].index("n")] = 0
    return replace(direction, bias_recurrent=recurrent)


def notes_of(network: Network) -> Iterator[str]:
    """What the layout changes, and what whoever loads the file has to know."""
    layers = [replace(y, directions=tuple(_joined(y, d) for d in y.directions)) for y in network.layers]
    yield from summed(layers)
    for layer in layers:
        yield from widened([layer], widest_dtype([layer]))
    if unstated := list(_unstated(network.layers)):
        yield f"the file does not state {', '.join(unstated)}: the code that loads it has to"


def _unstated(layers: Sequence[Layer]) -> Iterator[str]:
    for k, layer in enumerate(layers):
        which = f" of layer {k}" if len(layers) > 1 else ""
        if layer.activation != "tanh":
            yield f"activation {layer.activation}{which}"
        if layer.cell != "rnn" and layer.gating.activation != "sigmoid":
            yield f"gate activation {layer.gating.activation}{which}"
        if layer.bidirectional and layer.merge != "concat":
            yield f"merge mode {layer.merge}{which}"
        if not layer.bidirectional and layer.directions[0].reverse:
            yield f"that {which.removeprefix(' of ') or 'the layer'} runs backward"


def chosen(scopes: Sequence[Sequence[str]]) -> str:
    """The selector of a stack whose layers have cells of these names; empty where the file needs none."""
    names = [",".join(dict.fromkeys(each)) for each in scopes]
    return "+".join(names) if len(names) > 1 or "," in names[0] else ""
