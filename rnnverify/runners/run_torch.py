"""Run a PyTorch file: torch.load (weights only), nn.RNN, nn.GRU, nn.LSTM or their cells, load_state_dict.

Layers of the request: {"module": "RNN" | "GRU" | "LSTM" | "RNNCell" | "GRUCell" | "LSTMCell" | "Cell", "input_size",
"hidden_size", "num_layers", "bidirectional", "bias", "proj_size": 0 for none, "root": [keys that lead to the dict of
weights, or to the module], "prefix": of the names in it, "keys": {parameter: tensor name}, "classes": [torch's own
classes that the loader has to be told to make], "files": [shards of the weights]}; each is one module, and its outputs
feed the next. A "Cell" is written by hand: "form" and "uses" say what its tensors are for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from exchange import run_batches
from torch_dense import dense
from torch_layers import (
    Cell,
    as_array,
    as_tensor,
    chain,
    count_directions,
    halves,
    make_module,
    one_by_one,
    single_layers,
    sizes_of,
)
from torch_loading import read_tensors


def run(job: dict[str, Any]) -> Any:
    torch.set_num_threads(job["threads"])
    tensors, loaded, why = read_tensors(job)
    activations, gates = iter(job["activations"]), iter(job["gates"])
    modules = [make_module(layer, tensors, activations, gates, job["dtype"]) for layer in job["layers"]]
    model = Model(modules)
    with getattr(torch, "inference_mode", torch.no_grad)():  # before 1.9 there is only the latter
        outputs = run_batches(job, model)
    return {"outputs": outputs, "loaded": loaded, "why_not": why, "layer": names(modules)}


def names(modules: Any) -> Any:
    called = ["written by hand" if isinstance(m, Cell) else "torch.nn." + type(m).__name__ for m in modules]
    return ", ".join(sorted(set(called)))


class Model:
    """A chain of modules."""

    def __init__(self, modules: Any) -> None:
        self.modules = modules
        self.singles = [single for module in modules for single in single_layers(module)]
        self.state_sizes = [sizes_of(single) for single in self.singles for _ in range(count_directions(single))]
        self.backward = any(getattr(module, "bidirectional", False) for module in modules)

    def run_padded(self, x: Any, states: Any, lengths: Any) -> Any:
        return self.run(x, states, torch.from_numpy(lengths.astype("int64")))

    def run(self, x: Any, states: Any, lengths: Any = None) -> Any:
        x, states = (as_tensor(x, self.modules[0]), [as_tensor(state, self.modules[0]) for state in states])
        if len(self.state_sizes) == 1:
            outputs, finals = chain(self.modules, x, states, lengths)
            return [as_array(outputs[0])], [as_array(state) for state in finals]
        # a module does not show its lower layers: they are also run one by one, with the same parameters
        outputs, finals = chain(self.singles, x, states, lengths)
        y = outputs[-1]
        if len(self.singles) > len(self.modules):
            whole, finals = chain(self.modules, x, states, lengths)
            y = whole[-1]
        shown = [as_array(part) for single, output in zip(self.singles, outputs) for part in halves(single, output)]
        return [as_array(y), *shown], [as_array(state) for state in finals]

    def dense(self, y: Any, kernel: Any, bias: Any, activation: str) -> Any:
        y, kernel = (as_tensor(np.ascontiguousarray(array), self.modules[0]) for array in (y, kernel))
        bias = None if bias is None else as_tensor(bias, self.modules[0])
        return as_array(dense(y, kernel, bias, activation))

    @property
    def layers(self) -> Any:
        return [("concat", True, one_by_one(single)) for single in self.singles]
