"""The canonical network as layers of Keras hold it.

Layout (keras/src/layers/rnn/simple_rnn.py, gru.py, lstm.py and bidirectional.py, 3.15.1): `kernel` (I, GH),
`recurrent_kernel` (H, GH), `bias`, which is the order of `set_weights`, with gates as `gates` has them; a
Bidirectional has those of its forward layer, then of its backward one. A layer with go_backwards hands its outputs on
in the order in which it processed the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.keras.gates import keeps_both, laid_out
from rnnverify.adapters.layout import Layout, plain_names, summed, way, widened, widest_dtype
from rnnverify.canonical import Array, Layer, Network
from rnnverify.errors import UnsupportedError

CLASSES = {"rnn": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}
"""The layer of each kind of cell."""


def lay_out(network: Network, target: Path, names: Sequence[str] = ()) -> Layout:
    """`network` as SimpleRNN, GRU, LSTM and Bidirectional layers, called as `names` say, one a layer, or as the source
    has them.

    Raises UnsupportedError, about `target`, for what these layers cannot compute.
    """
    for k, layer in enumerate(network.layers):
        if found := _beyond(layer):
            raise UnsupportedError(target, f"layer {k} {found[0]}", found[1])
    called = plain_names(names or [layer.name for layer in network.layers], "rnn")
    tensors: dict[str, Array] = {}
    made = []
    for k, (layer, name) in enumerate(zip(network.layers, called, strict=True)):
        own = [_weights(target, layer, k, d, name) for d in range(len(layer.directions))]
        for each in own:
            tensors.update(each)
        made.append(
            {
                "class": CLASSES[layer.cell],
                "bidirectional": layer.bidirectional,
                "name": name,
                "units": layer.hidden_size,
                "activation": layer.activation,
                "gates": _gate_options(layer),
                "use_bias": _has_bias(layer),
                "go_backwards": not layer.bidirectional and layer.directions[0].reverse,
                "merge_mode": layer.merge if layer.bidirectional else None,
                "dtype": widest_dtype([layer]).name,
                "tensors": [list(each) for each in own],
            }
        )
    notes = [note for layer in network.layers for note in widened([layer], widest_dtype([layer]))]
    part = "+".join(called) if len(called) > 1 else ""
    adding = [layer for layer in network.layers if not keeps_both(layer)]
    return Layout("keras", tuple(made), tensors, part, tuple(dict.fromkeys((*summed(adding), *notes))))


def _gate_options(layer: Layer) -> dict[str, object]:
    """What GRU and LSTM are told beside the options of SimpleRNN."""
    if layer.cell == "rnn":
        return {}
    reset = {"reset_after": layer.gating.reset_after} if layer.cell == "gru" else {}
    return {"recurrent_activation": layer.gating.activation, **reset}


def _beyond(layer: Layer) -> tuple[str, str] | None:
    """Why the layers of Keras cannot compute `layer`, and what to do; None where they can."""
    gating, gated = layer.gating, layer.cell != "rnn"
    for name in (layer.activation, *[gating.activation] * gated):
        if name == "keras2_hard_sigmoid":
            found = "has the hard_sigmoid of Keras 1 and 2, clip(0.2x + 0.5, 0, 1), which Keras 3 no longer has"
            return found, "convert to another framework" if gated else "convert to a TensorFlow checkpoint"
        if name not in ACTIVATIONS:
            return f"has the activation {name}, which Keras does not have", "convert to another framework"
    elsewhere = "convert to a TensorFlow checkpoint"
    if any(direction.peephole is not None for direction in layer.directions):
        return "has peepholes, which the LSTM of Keras has not", elsewhere
    if any(direction.projection is not None for direction in layer.directions):
        return "is projected, and the LSTM of Keras is not", elsewhere
    if layer.cell == "lstm" and gating.cell_clip:
        return "clips its cell state, and the LSTM of Keras does not", elsewhere
    if layer.cell == "lstm" and gating.output not in ("", layer.activation):
        found = f"has the activation {layer.activation} of its candidate and {gating.output} of its cell state"
        return f"{found}, and the LSTM of Keras has one for both", elsewhere
    if not layer.bidirectional and layer.directions[0].reverse and layer.time_restored:
        found = (
            f"runs backward and turns its outputs back, and {CLASSES[layer.cell]}(go_backwards=True) does not turn them"
        )
        return found, "convert to a TensorFlow checkpoint"
    return None


def _has_bias(layer: Layer) -> bool:
    return any(direction.has_bias for direction in layer.directions)


def _weights(target: Path, layer: Layer, k: int, d: int, name: str) -> dict[str, Array]:
    """The weights of direction `d` of layer `k`, in the order of `set_weights`; two biases become one."""
    direction, dtype = layer.directions[d], widest_dtype([layer])
    prefix = f"{name}/" + (("forward", "backward")[d] + "_rnn/" if layer.bidirectional else "")
    found = {}
    for role, array in laid_out(layer, direction).items():
        if role != "bias" or _has_bias(layer):
            with np.errstate(over="ignore"):
                found[prefix + role] = np.ascontiguousarray(array, dtype)
    if not all(np.isfinite(array).all() for array in found.values()):
        biases = f"the biases of layer {k}{way(direction.reverse)} add up to more than {dtype.name} holds"
        raise UnsupportedError(target, biases, "convert to a PyTorch file, which keeps both")
    return found
