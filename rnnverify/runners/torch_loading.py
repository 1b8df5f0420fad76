"""The weights of a PyTorch file by torch's own loader: torch.load (weights only), or that of safetensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from exchange import in_a_line, load_tensors

CLASSES = {
    "torch.nn.modules.rnn." + name: getattr(torch.nn, name)
    for name in ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")
}


def read_tensors(job: dict[str, Any]) -> Any:
    """{tensor name: torch tensor} by torch's own loader, or from the arrays of the request."""
    why = job["why_not"]
    if job["loadable"]:
        try:
            return load_file(job)
        except Exception as error:  # the loader may refuse for any reason: the file's own arrays remain
            why = in_a_line(error)
            for layer in job["layers"]:
                layer.pop("made", None)
    arrays = {name: torch.from_numpy(np.array(array)) for name, array in load_tensors(job).items()}
    return arrays, "", why


def is_pickle(path: str) -> Any:
    with open(path, "rb") as file:
        start = file.read(9)
    return start[:2] == b"PK" or start[8:9] != b"{"


def load_file(job: dict[str, Any]) -> Any:
    """{tensor name: torch tensor}, by which loader, and nothing to explain."""
    files = [path for layer in job["layers"] for path in layer["files"]] or [job["path"]]
    if not is_pickle(files[0]):
        from safetensors.torch import load_file as load_safetensors

        tensors = {}
        for path in dict.fromkeys(files):
            tensors.update(load_safetensors(path))
        return tensors, "safetensors.torch.load_file", ""
    loaded, how = load_weights_only(job)
    tensors = {}
    for layer in job["layers"]:
        weights = loaded
        for key in layer["root"]:
            weights = weights[key]
        if isinstance(weights, torch.nn.Module):
            layer["made"] = weights.eval()
            weights(torch.zeros(1, layer["input_size"], dtype=next(weights.parameters()).dtype))  # too old: it raises
            weights = weights.state_dict()
        tensors.update({name: weights[layer["prefix"] + key] for key, name in layer["keys"].items()})
    return tensors, how, ""


def load_weights_only(job: dict[str, Any]) -> Any:
    """What torch.load(weights_only=True) makes of the file, told of torch's own classes that it names, and of no other.

    A file that the user trusts is loaded whole, with whatever code it brings; here, and nowhere else.
    """
    if job.get("trusted"):
        return torch.load(job["path"], map_location="cpu", weights_only=False), "torch.load, trusted"
    classes = sorted({name for layer in job["layers"] for name in layer["classes"]})
    how = "torch.load(weights_only=True)"
    if not classes:
        return torch.load(job["path"], map_location="cpu", weights_only=True), how
    with torch.serialization.safe_globals([CLASSES[name] for name in classes]):
        loaded = torch.load(job["path"], map_location="cpu", weights_only=True)
    return loaded, how + ", " + ", ".join(classes) + " allowed"
