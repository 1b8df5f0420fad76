"""Networks with gates in the files of five frameworks, written by hand in the layout that each documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx_files
from safetensors.numpy import save_file
from tf_files import write_v2

from rnnverify.adapters.keras.gates import laid_out
from rnnverify.adapters.layouts import lay_out
from rnnverify.canonical import Array, Layer, Network
from rnnverify.errors import UnsupportedError


def torch(network: Network, path: Path) -> str:
    """A state_dict as safetensors."""
    tensors = lay_out(network, "torch", path).tensors
    path = path.with_suffix(".safetensors")
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)
    return str(path)


def keras(network: Network, path: Path) -> str:
    """A file of weights, as Keras 2 writes it."""
    lay_out(network, "keras", path)  # raises what Keras cannot hold
    path = path.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        _weights(file, network)
    return str(path)


def keras_model(network: Network, path: Path, masking: bool = False) -> str:
    """A whole model, as Keras 2 writes it; with `masking` it leaves out steps of zeros."""
    layers = [_keras_layer(layer, k) for k, layer in enumerate(network.layers)]
    masks = [{"class_name": "Masking", "config": {"name": "masking", "mask_value": 0.0}}] if masking else []
    config = {"class_name": "Sequential", "config": {"name": "model", "layers": [*masks, *layers]}}
    path = path.with_suffix(".h5")
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        _weights(file.create_group("model_weights"), network)
    return str(path)


def _keras_layer(layer: Layer, k: int) -> dict[str, object]:
    stated = {
        "name": f"{layer.cell}_{k}",
        "units": layer.hidden_size,
        "activation": layer.activation,
        "recurrent_activation": layer.gating.activation,
        "use_bias": True,
        "return_sequences": True,
        "go_backwards": False,
        **({"reset_after": layer.gating.reset_after} if layer.cell == "gru" else {}),
    }
    one: dict[str, object] = {"class_name": layer.cell.upper(), "config": stated}
    if not layer.bidirectional:
        return one
    both = {"name": f"bidirectional_{k}", "layer": one, "merge_mode": layer.merge}
    return {"class_name": "Bidirectional", "config": both}


def _weights(file: h5py.Group, network: Network) -> None:
    names = []
    file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
    for k, layer in enumerate(network.layers):
        cell = f"{layer.cell}_{k}"
        name = f"bidirectional_{k}" if layer.bidirectional else cell
        inner = [f"{name}/forward_{cell}", f"{name}/backward_{cell}"] if layer.bidirectional else [f"{name}/{cell}"]
        stored = {
            f"{scope}/{role}:0": np.asarray(array, np.float32)
            for scope, d in zip(inner, layer.directions, strict=True)
            for role, array in laid_out(layer, d).items()
        }
        group = file.create_group(name)
        group.attrs["weight_names"] = [key.encode() for key in stored]
        for key, array in stored.items():
            group.create_dataset(key, data=array)
        names.append(name.encode())
    file.attrs["layer_names"] = names


def tensorflow(network: Network, path: Path) -> str:
    """A checkpoint of cells, without the graph beside it."""
    tensors = lay_out(network, "tensorflow", path).tensors
    return str(write_v2(path.with_suffix(".ckpt"), tensors))


def onnx(network: Network, path: Path) -> str:
    """A model of one node for each layer, and between two what joins them."""
    layout = lay_out(network, "onnx", path)
    path = path.with_suffix(".onnx")
    nodes, read = [], "X"
    shape = {"shape": np.array([0, 0, -1], np.int64)}
    for k, made in enumerate(layout.layers):
        (node,) = made["nodes"]
        name, weights = node["name"], list(node["tensors"])
        weights[3:3] = ["", "", ""] * (len(weights) > 3)  # lengths and initial states stand before the peepholes
        nodes.append(onnx_files.node(node["op"], [read, *weights], [f"{name}.Y"], name, **_plain(node["attributes"])))
        nodes.append(onnx_files.node("Transpose", [f"{name}.Y"], [f"{name}.T"], perm=[0, 2, 1, 3]))
        nodes.append(onnx_files.node("Reshape", [f"{name}.T", "shape"], [f"out{k}"]))
        read = f"out{k}"
    constants = [onnx_files.tensor(key, array) for key, array in {**layout.tensors, **shape}.items()]
    inputs, outputs = [onnx_files.value("X", (0, 0, network.input_size))], [onnx_files.value(read)]
    path.write_bytes(onnx_files.model(onnx_files.graph(nodes, constants, inputs, outputs)))
    return str(path)


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(map(float, v)) if "alpha" in name or "beta" in name else v for name, v in attributes.items()}


def flax(network: Network, path: Path) -> str:
    """The parameters of linen cells, flattened, as `.npz`."""
    arrays: dict[str, Array] = {}
    for k, layer in enumerate(network.layers):
        (d,) = layer.directions
        if d.reverse or d.projection is not None or d.peephole is not None or layer.gating.activation != "sigmoid":
            raise UnsupportedError(path, "is not for Flax", "")
        if layer.cell == "gru" and not (layer.gating.reset_after and not np.any(d.bias_recurrent[:2])):
            raise UnsupportedError(path, "has biases that Flax has not", "")
        scope, gates = (f"GRUCell_{k}", "rzn") if layer.cell == "gru" else (f"OptimizedLSTMCell_{k}", "ifgo")
        for g, gate in enumerate(gates):
            arrays[f"params/{scope}/i{gate}/kernel"] = d.kernel[g]
            arrays[f"params/{scope}/h{gate}/kernel"] = d.recurrent_kernel[g]
            if layer.cell == "lstm":
                arrays[f"params/{scope}/h{gate}/bias"] = d.bias[g].astype(np.float32)
            else:
                arrays[f"params/{scope}/i{gate}/bias"] = d.bias_input[g]
        if layer.cell == "gru":
            arrays[f"params/{scope}/hn/bias"] = d.bias_recurrent[2]
    path = path.with_suffix(".npz")
    np.savez(path, **arrays)  # type: ignore[arg-type]  # arrays by name
    return f"flax:{path}"


FORMS: Mapping[str, Callable[[Network, Path], str]] = {
    "keras": keras,
    "torch": torch,
    "tensorflow": tensorflow,
    "onnx": onnx,
    "flax": flax,
}


def can_hold(form: str, network: Network, path: Path) -> bool:
    """Whether the framework can compute `network`."""
    try:
        FORMS[form](network, path / "tried")
    except (UnsupportedError, ValueError):
        return False
    return True
