"""Write a PyTorch file: torch.save of a state_dict, or safetensors' own writer, from the modules that hold the weights.

Layers of the request: {"module": "RNN" | "GRU" | "LSTM", "input_size", "hidden_size", "num_layers", "bidirectional",
"bias", "proj_size", "nonlinearity", "dtype", "prefix": of the names in the file, "keys": {parameter: tensor name}}.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from exchange import load_tensors
from torch_layers import SIGMOID, make_module


def write(job: dict[str, Any]) -> Any:
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in load_tensors(job).items()}
    state = OrderedDict()
    for layer in job["layers"]:
        activations = iter([layer["nonlinearity"]] * layer["num_layers"])
        gates = iter([SIGMOID] * layer["num_layers"])
        module = make_module(layer, tensors, activations, gates, layer["dtype"])
        for name, value in module.state_dict().items():
            state[layer["prefix"] + name] = value
    path, form = job["write"]["path"], job["write"]["form"]
    if form == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path, metadata={"format": "pt"})
        return {"written": "safetensors.torch.save_file"}
    if form == "npz":
        with open(path, "wb") as file:  # a path without the suffix would get it added
            np.savez(file, **{name: value.numpy() for name, value in state.items()})
        return {"written": "numpy.savez"}
    torch.save(state, path)
    return {"written": "torch.save"}
