"""The layers of PyTorch: made, called on (B, T, I) and flat lists of states, and taken apart into single ones.

The states of a direction are h (B, P) and, of an LSTM, c (B, H) behind it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

SIGMOID = {"gate_activation": "sigmoid", "output_activation": "tanh", "reset_after": True, "cell_clip": 0}
"""The gates of nn.GRU and nn.LSTM; they have no others."""


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


def make_module(layer: Any, tensors: Any, activations: Any, gates: Any, dtype: Any) -> Any:
    """The module of `layer`; its layers take their activations and gates from the two iterators."""
    dtype = getattr(torch, dtype)
    used = {next(activations) for _ in range(layer["num_layers"])}
    kind = layer["module"].replace("Cell", "") or "RNN"
    for _ in range(layer["num_layers"]):
        gate = next(gates)
        if kind != "RNN" and any(gate[name] != value for name, value in SIGMOID.items()):
            raise ValueError("torch.nn.%s has sigmoid gates and no clip, and resets after the product" % kind)
    nonlinearity = used.pop()
    if used or nonlinearity not in (("tanh", "relu") if kind == "RNN" else ("tanh",)):
        can = "tanh or relu" if kind == "RNN" else "tanh"
        raise ValueError("torch.nn.%s computes %s, not %s" % (layer["module"], can, nonlinearity))
    if layer["module"] == "Cell":
        return Cell(layer, tensors, nonlinearity, dtype)
    if "made" in layer:
        return layer["made"].to(dtype).eval()
    options: dict[str, Any] = {"bias": layer["bias"]}
    if kind == "RNN":
        options["nonlinearity"] = nonlinearity
    if not layer["module"].endswith("Cell"):
        options.update(num_layers=layer["num_layers"], batch_first=True, bidirectional=layer["bidirectional"])
        if layer["proj_size"]:
            options["proj_size"] = layer["proj_size"]
    module = getattr(torch.nn, layer["module"])(layer["input_size"], layer["hidden_size"], **options).to(dtype)
    module.load_state_dict({key: tensors[name] for key, name in layer["keys"].items()})
    return module.eval()


def dtype_of(module: Any) -> Any:
    weights = module.weights.values() if isinstance(module, Cell) else module.parameters()
    return next(iter(weights)).dtype


def is_cell(module: Any) -> bool:
    return isinstance(module, (torch.nn.RNNCell, torch.nn.GRUCell, torch.nn.LSTMCell, Cell))


def has_c(module: Any) -> bool:
    return isinstance(module, (torch.nn.LSTM, torch.nn.LSTMCell))


def sizes_of(module: Any) -> Any:
    """The widths of the states of one direction: (P,), or (P, H) of an LSTM."""
    P = getattr(module, "proj_size", 0) or module.hidden_size
    return (P, module.hidden_size) if has_c(module) else (P,)


def count_directions(module: Any) -> int:
    """Over all layers of the module."""
    return 1 if is_cell(module) else module.num_layers * (2 if module.bidirectional else 1)


def count_states(module: Any) -> int:
    return count_directions(module) * len(sizes_of(module))


def chain(modules: Any, x: Any, states: Any, lengths: Any = None) -> Any:
    """x (B, T, I) through `modules`; the outputs of each, and the final states of all."""
    outputs, finals = [], []
    for module in modules:
        count = count_states(module)
        x, last = call(module, x, states[:count], lengths)
        states = states[count:]
        outputs.append(x)
        finals += last
    return outputs, finals


def call(module: Any, x: Any, states: Any, lengths: Any = None) -> Any:
    """x (B, T, I) and a flat list of states through one module: its outputs, and the flat list of the last states.

    With `lengths` (B,), the steps of sequence k behind lengths[k] are padding: the outputs there are zeros.
    """
    if is_cell(module):
        return call_cell(module, x, states, lengths)
    T, time_first = x.shape[1], not module.batch_first  # a module of the file, which may have been made for (T, B, I)
    if time_first:
        x = x.transpose(0, 1)
    if lengths is not None:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, module.batch_first, enforce_sorted=False)
    if has_c(module):
        y, (h, c) = module(x, (torch.stack(states[::2]), torch.stack(states[1::2])))
        last = [state for both in zip(h, c) for state in both]
    else:
        y, h = module(x, torch.stack(states))
        last = list(h)
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, module.batch_first, total_length=T)
    return (y.transpose(0, 1) if time_first else y), last


def call_cell(cell: Any, x: Any, states: Any, lengths: Any = None) -> Any:
    state, outputs = list(states), []
    for t in range(x.shape[1]):
        new = list(cell(x[:, t], tuple(state))) if has_c(cell) else [cell(x[:, t], state[0])]
        h = new[0]
        if lengths is not None:
            going = (t < lengths).unsqueeze(1)
            new = [torch.where(going, after, before) for after, before in zip(new, state)]
            h = torch.where(going, h, torch.zeros_like(h))
        state = new
        outputs.append(h)
    return torch.stack(outputs, 1), state


def halves(single: Any, output: Any) -> Any:
    """The states of each direction in the output of one layer, both in the order of the input."""
    return torch.chunk(output, count_directions(single), dim=2)


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
        parts = [part_of(single, 0, (suffix,), ("",)) for suffix in ("", "_reverse")[: count_directions(single)]]
    return [(d == 1, lambda x, states, part=part: run_arrays(part, x, states)) for d, part in enumerate(parts)]


def part_of(module: Any, layer: Any, suffixes: Any, become: Any) -> Any:
    """One layer of `module` as a module of its own: the directions `suffixes`, named `become` there."""
    proj_size = getattr(module, "proj_size", 0)
    names = ["weight_ih", "weight_hh"] + ["bias_ih", "bias_hh"] * bool(module.bias) + ["weight_hr"] * bool(proj_size)
    parameters = {
        "%s_l0%s" % (name, new): getattr(module, "%s_l%d%s" % (name, layer, old)).detach()
        for name in names
        for old, new in zip(suffixes, become)
    }
    weight = parameters["weight_ih_l0"]
    options: dict[str, Any] = (
        {"nonlinearity": "relu" if module.mode == "RNN_RELU" else "tanh"} if "RNN" in module.mode else {}
    )
    if proj_size:
        options["proj_size"] = proj_size
    kind = getattr(torch.nn, module.mode.split("_")[0])
    sizes = (weight.shape[1], module.hidden_size)
    part = kind(*sizes, bias=module.bias, batch_first=True, bidirectional=len(become) == 2, **options)
    part = part.to(weight.dtype)
    part.load_state_dict(parameters)
    return part.eval()


def run_arrays(module: Any, x: Any, states: Any) -> Any:
    y, last = call(module, as_tensor(np.ascontiguousarray(x), module), [as_tensor(s, module) for s in states])
    return as_array(y), [as_array(state) for state in last]


def as_tensor(array: Any, module: Any) -> Any:
    return torch.from_numpy(np.asarray(array)).to(dtype_of(module))


def as_array(tensor: Any) -> Any:
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
