"""Run a PyTorch file: torch.load (weights only), nn.RNN or nn.RNNCell, load_state_dict.

Layers of the request: {"module": "RNN" | "RNNCell" | "Cell", "input_size", "hidden_size", "num_layers",
"bidirectional", "bias", "root": [keys that lead to the dict of weights, or to the module], "prefix": of the names in
it, "keys": {parameter: tensor name}, "classes": [torch's own classes that the loader has to be told to make], "files":
[shards of the weights]}; each is one module, and its outputs feed the next. A "Cell" is written by hand: "form" and
"uses" say what its tensors are for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from exchange import load_tensors, run_batches

CLASSES = {
    "torch.nn.modules.rnn.RNN": torch.nn.RNN,
    "torch.nn.modules.rnn.RNNCell": torch.nn.RNNCell,
}


def run(job: dict[str, Any]) -> Any:
    torch.set_num_threads(job["threads"])
    tensors, loaded, why = read_tensors(job)
    activations = iter(job["activations"])
    modules = [make_module(layer, tensors, activations, job["dtype"]) for layer in job["layers"]]
    model = Model(modules)
    with getattr(torch, "inference_mode", torch.no_grad)():  # before 1.9 there is only the latter
        outputs = run_batches(job, model)
    return {"outputs": outputs, "loaded": loaded, "why_not": why, "layer": names(modules)}


def names(modules: Any) -> Any:
    called = ["written by hand" if isinstance(m, Cell) else "torch.nn." + type(m).__name__ for m in modules]
    return ", ".join(sorted(set(called)))


def read_tensors(job: dict[str, Any]) -> Any:
    """{tensor name: torch tensor} by torch's own loader, or from the arrays of the request."""
    why = job["why_not"]
    if job["loadable"]:
        try:
            return load_file(job)
        except Exception as error:  # the loader may refuse for any reason: the file's own arrays remain
            why = type(error).__name__ + ": " + (str(error).strip().splitlines() or [""])[0][:120]
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


class Cell:
    """A cell written by hand: Linears over x and h, or one over both, whole as the file has them, and an activation."""

    def __init__(self, layer: Any, tensors: Any, activation: str, dtype: Any) -> None:
        self.hidden_size = layer["hidden_size"]
        self.form = layer["form"]
        self.activation = torch.tanh if activation == "tanh" else torch.relu
        self.weights = {use: tensors[name].to(dtype) for use, name in layer["uses"].items()}

    def __call__(self, x: Any, h: Any) -> Any:
        if "both" in self.weights:
            return self.activation(self.linear("both", torch.cat([x, h] if self.form == "xh" else [h, x], 1)))
        return self.activation(self.linear("input", x) + self.linear("recurrent", h))

    def linear(self, use: str, x: Any) -> Any:
        weight, bias = self.weights[use], self.weights.get(use + "_bias")
        return torch.nn.functional.linear(x, weight.T if self.form == "matmul" else weight, bias)


def dtype_of(module: Any) -> Any:
    weights = module.weights.values() if isinstance(module, Cell) else module.parameters()
    return next(iter(weights)).dtype


def is_cell(module: Any) -> bool:
    return isinstance(module, (torch.nn.RNNCell, Cell))


def make_module(layer: Any, tensors: Any, activations: Any, dtype: Any) -> Any:
    count = layer["num_layers"]
    used = {next(activations) for _ in range(count)}
    nonlinearity = used.pop()
    if used or nonlinearity not in ("tanh", "relu"):
        raise ValueError("torch.nn.%s computes tanh or relu, not %s" % (layer["module"], nonlinearity))
    if layer["module"] == "Cell":
        return Cell(layer, tensors, nonlinearity, getattr(torch, dtype))
    if "made" in layer:
        return layer["made"].to(getattr(torch, dtype)).eval()
    if layer["module"] == "RNNCell":
        module = torch.nn.RNNCell(layer["input_size"], layer["hidden_size"], layer["bias"], nonlinearity)
    else:
        module = torch.nn.RNN(
            layer["input_size"],
            layer["hidden_size"],
            count,
            nonlinearity=nonlinearity,
            bias=layer["bias"],
            batch_first=True,
            bidirectional=layer["bidirectional"],
        )
    module = module.to(getattr(torch, dtype))
    module.load_state_dict({key: tensors[name] for key, name in layer["keys"].items()})
    return module.eval()


class Model:
    """A chain of nn.RNN and nn.RNNCell."""

    def __init__(self, modules: Any) -> None:
        self.modules = modules
        self.dtype = dtype_of(modules[0])
        self.singles = [single for module in modules for single in single_layers(module)]
        self.state_sizes = [(single.hidden_size,) for single in self.singles for _ in range(count_states(single))]
        self.backward = any(getattr(module, "bidirectional", False) for module in modules)

    def run(self, x: Any, states: Any) -> Any:
        x = torch.from_numpy(x).to(self.dtype)
        states = [torch.from_numpy(np.asarray(h)).to(self.dtype) for h in states]
        if len(states) == 1:
            outputs, finals = chain(self.modules, x, states)
            return [as_array(outputs[0])], [as_array(finals[0])]
        # nn.RNN does not show its lower layers: they are also run one by one, with the same parameters
        outputs, finals = chain(self.singles, x, states)
        y = outputs[-1]
        if len(self.singles) > len(self.modules):
            whole, finals = chain(self.modules, x, states)
            y = whole[-1]
        shown = [as_array(part) for single, output in zip(self.singles, outputs) for part in halves(single, output)]
        return [as_array(y), *shown], [as_array(h) for h in finals]

    @property
    def layers(self) -> Any:
        return [("concat", True, one_by_one(single)) for single in self.singles]


def as_array(tensor: Any) -> Any:
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def chain(modules: Any, x: Any, states: Any) -> Any:
    """x (B, T, I) through `modules`; the outputs of each, and the final states of all."""
    outputs, finals = [], []
    for module in modules:
        count = count_states(module)
        x, last = call(module, x, states[:count])
        states = states[count:]
        outputs.append(x)
        finals += last
    return outputs, finals


def count_states(module: Any) -> Any:
    if is_cell(module):
        return 1
    return module.num_layers * (2 if module.bidirectional else 1)


def call(module: Any, x: Any, states: Any) -> Any:
    """x (B, T, I) and a list of (B, H) through one module."""
    if is_cell(module):
        h, outputs = states[0], []
        for t in range(x.shape[1]):
            h = module(x[:, t], h)
            outputs.append(h)
        return torch.stack(outputs, 1), [h]
    if not module.batch_first:  # a module of the file, which may have been made for (T, B, I)
        y, last = module(x.transpose(0, 1), torch.stack(states))
        return y.transpose(0, 1), list(last)
    y, last = module(x, torch.stack(states))
    return y, list(last)


def halves(single: Any, output: Any) -> Any:
    """The states of each direction in the output of one layer, both in the order of the input."""
    return torch.chunk(output, count_states(single), dim=2)


def single_layers(module: Any) -> Any:
    """The layers of one module as modules of one layer with the same parameters."""
    if is_cell(module) or module.num_layers == 1:
        return [module]
    suffixes = ("", "_reverse") if module.bidirectional else ("",)
    return [part_of(module, k, suffixes, suffixes) for k in range(module.num_layers)]


def one_by_one(single: Any) -> Any:
    """(reverse, function) of each direction of one layer, for long bidirectional runs; each runs forward."""
    if is_cell(single):
        parts = [single]
    else:
        parts = [part_of(single, 0, (suffix,), ("",)) for suffix in ("", "_reverse")[: count_states(single)]]
    return [(d == 1, lambda x, states, part=part: run_arrays(part, x, states)) for d, part in enumerate(parts)]


def part_of(module: Any, layer: Any, suffixes: Any, become: Any) -> Any:
    """One layer of `module` as a module of its own: the directions `suffixes`, named `become` there."""
    names = ["weight_ih", "weight_hh"] + (["bias_ih", "bias_hh"] if module.bias else [])
    parameters = {
        "%s_l0%s" % (name, new): getattr(module, "%s_l%d%s" % (name, layer, old)).detach()
        for name in names
        for old, new in zip(suffixes, become)
    }
    weight = parameters["weight_ih_l0"]
    part = torch.nn.RNN(
        weight.shape[1],
        module.hidden_size,
        nonlinearity="relu" if module.mode == "RNN_RELU" else "tanh",
        bias=module.bias,
        batch_first=True,
        bidirectional=len(become) == 2,
        dtype=weight.dtype,
    )
    part.load_state_dict(parameters)
    return part.eval()


def run_arrays(module: Any, x: Any, states: Any) -> Any:
    dtype = dtype_of(module)
    given = [torch.from_numpy(np.asarray(state)).to(dtype) for state in states]
    y, last = call(module, torch.from_numpy(np.ascontiguousarray(x)).to(dtype), given)
    return as_array(y), [as_array(state) for state in last]
