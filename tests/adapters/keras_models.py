"""Keras models in memory, as their configuration and weights would come out of a `.h5` file; and the recurrence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.canonical import Array, Network
from rnnverify.containers.contents import Contents, StoredTensor

rng = np.random.default_rng(0)


def layer(class_name: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": name, **config}}


def rnn(name: str, units: int = 3, class_name: str = "SimpleRNN", **config: Any) -> dict[str, Any]:
    stated = {"units": units, "activation": "tanh", "use_bias": True, "return_sequences": True, "go_backwards": False}
    return layer(class_name, name, **(stated | config))


def cell(name: str, units: int = 3, **config: Any) -> dict[str, Any]:
    return layer("SimpleRNNCell", name, **({"units": units, "activation": "tanh", "use_bias": True} | config))


def sequential(*layers: dict[str, Any], name: str = "model") -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": name, "layers": [*layers]}}


def functional(outputs: str, *layers: tuple[dict[str, Any], list[Any]]) -> dict[str, Any]:
    """Layers with their inbound nodes, as Keras 2 writes them."""
    listed = [{**stored, "name": stored["config"]["name"], "inbound_nodes": nodes} for stored, nodes in layers]
    config = {"name": "model", "layers": listed, "output_layers": [[outputs, 0, 0]]}
    return {"class_name": "Functional", "config": config}


def gates(name: str, units: int = 3, class_name: str = "GRU", **config: Any) -> dict[str, Any]:
    return rnn(name, units, class_name, **({"recurrent_activation": "sigmoid"} | config))


def weights(I: int, H: int, bias: bool = True, gates: int = 1) -> list[Array]:
    shapes = [(I, gates * H), (H, gates * H), (gates * H,)][: 2 + bias]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def named(prefix: str, arrays: list[Array], suffix: str = ":0") -> dict[str, Array]:
    """Arrays under `prefix` as kernel, recurrent_kernel, bias."""
    return {
        f"{prefix}{role}{suffix}": a for role, a in zip(("kernel", "recurrent_kernel", "bias"), arrays, strict=False)
    }


def held(
    model: Mapping[str, Any] | None, layers: Mapping[str, Mapping[str, Array]], version: str = "2.15.0", **metadata: Any
) -> Contents:
    """A `.h5` of this configuration, with {layer: {weight name: array}} in this order."""
    tensors = {f"{group}/{name}": array for group, listed in layers.items() for name, array in listed.items()}
    stated: dict[str, Any] = {"keras_version": version} if version else {}
    stated["layer_weights"] = {group: [f"{group}/{name}" for name in listed] for group, listed in layers.items()}
    return _contents(tensors, stated | ({"model_config": model} if model else {}) | metadata)


def held_by_group(model: Mapping[str, Any] | None, tensors: Mapping[str, Array], **metadata: Any) -> Contents:
    """A `.weights.h5` or `.keras` of Keras 3."""
    return _contents(tensors, {"keras_version": "3.6.0"} | ({"model_config": model} if model else {}) | metadata)


def numbered(group: str, arrays: list[Array]) -> dict[str, Array]:
    return {f"{group}/vars/{k}": array for k, array in enumerate(arrays)}


def _contents(tensors: Mapping[str, Array], metadata: Mapping[str, Any]) -> Contents:
    def stored(name: str, array: Array) -> StoredTensor:
        return StoredTensor(name, array.shape, array.dtype.name, lambda: array)

    return Contents(Path("m.h5"), "HDF5", "keras", {n: stored(n, a) for n, a in tensors.items()}, metadata=metadata)


def states(network: Network, x: Array) -> Array:
    """(B, T, D*H): the last layer's outputs for x (B, T, I), in float64."""
    for stacked in network.layers:
        outputs = []
        for direction in stacked.directions:
            steps = x[:, ::-1] if direction.reverse else x
            h = np.zeros((len(x), direction.hidden_size))
            y = np.zeros((*x.shape[:2], direction.hidden_size))
            for t in range(x.shape[1]):
                z = steps[:, t] @ direction.kernel[0].astype(np.float64) + direction.bias[0]
                h = ACTIVATIONS[stacked.activation](z + h @ direction.recurrent_kernel[0].astype(np.float64))
                y[:, t] = h
            outputs.append(y[:, ::-1] if direction.reverse and stacked.time_restored else y)
        merged = {"sum": sum(outputs), "mul": np.prod(outputs, axis=0), "ave": sum(outputs) / len(outputs)}
        x = np.concatenate(outputs, axis=-1) if stacked.merge == "concat" else np.asarray(merged[stacked.merge])
    return x
