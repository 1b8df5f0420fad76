"""The canonical network as layers of Keras hold it.

Layout (keras/src/layers/rnn/simple_rnn.py and bidirectional.py, 3.15.1): `kernel` (I, H), `recurrent_kernel` (H, H),
`bias` (H,), which is the order of `set_weights`; a Bidirectional has those of its forward layer, then of its backward
one. A layer with go_backwards hands its outputs on in the order in which it processed the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.layout import Layout, one_bias, plain_names, summed, way, widened, widest_dtype
from rnnverify.canonical import Array, Layer, Network
from rnnverify.errors import UnsupportedError


def lay_out(network: Network, target: Path, names: Sequence[str] = ()) -> Layout:
    """`network` as SimpleRNN and Bidirectional layers, called as `names` say, one a layer, or as the source has them.

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
                "class": "Bidirectional" if layer.bidirectional else "SimpleRNN",
                "name": name,
                "units": layer.hidden_size,
                "activation": layer.activation,
                "use_bias": _has_bias(layer),
                "go_backwards": not layer.bidirectional and layer.directions[0].reverse,
                "merge_mode": layer.merge if layer.bidirectional else None,
                "dtype": widest_dtype([layer]).name,
                "tensors": [list(each) for each in own],
            }
        )
    notes = [note for layer in network.layers for note in widened([layer], widest_dtype([layer]))]
    part = "+".join(called) if len(called) > 1 else ""
    return Layout("keras", tuple(made), tensors, part, tuple(dict.fromkeys((*summed(network.layers), *notes))))


def _beyond(layer: Layer) -> tuple[str, str] | None:
    """Why SimpleRNN and Bidirectional cannot compute `layer`, and what to do; None where they can."""
    if layer.activation == "keras2_hard_sigmoid":
        found = "has the hard_sigmoid of Keras 1 and 2, clip(0.2x + 0.5, 0, 1), which Keras 3 no longer has"
        return found, "convert to a TensorFlow checkpoint"
    if layer.activation not in ACTIVATIONS:
        return f"has the activation {layer.activation}, which Keras does not have", "convert to another framework"
    if not layer.bidirectional and layer.directions[0].reverse and layer.time_restored:
        found = "runs backward and turns its outputs back, and SimpleRNN(go_backwards=True) does not turn them"
        return found, "convert to a TensorFlow checkpoint"
    return None


def _has_bias(layer: Layer) -> bool:
    return any(direction.has_bias for direction in layer.directions)


def _weights(target: Path, layer: Layer, k: int, d: int, name: str) -> dict[str, Array]:
    """The weights of direction `d` of layer `k`, in the order of `set_weights`; two biases become one."""
    direction, dtype = layer.directions[d], widest_dtype([layer])
    prefix = f"{name}/" + (("forward", "backward")[d] + "_rnn/" if layer.bidirectional else "")
    found = {prefix + "kernel": direction.kernel[0], prefix + "recurrent_kernel": direction.recurrent_kernel[0]}
    if _has_bias(layer):
        found[prefix + "bias"] = one_bias(target, f"layer {k}{way(direction.reverse)}", direction, dtype)[0]
    return {each: np.ascontiguousarray(array, dtype) for each, array in found.items()}
