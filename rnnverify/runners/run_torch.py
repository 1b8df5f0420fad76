"""Run a PyTorch file: torch.load (weights only), nn.RNN or nn.RNNCell, load_state_dict.

Layers of the request: {"module": "RNN" | "RNNCell", "input_size", "hidden_size", "num_layers", "bidirectional", "bias",
"root": [keys that lead to the dict of weights], "prefix": of the names in it, "keys": {parameter: tensor name}}; each is
one module, and its outputs feed the next.
"""

import numpy as np
import torch
from exchange import load_tensors, run_batches


def run(job):
    torch.set_num_threads(job["threads"])
    tensors, loaded, why = read_tensors(job)
    activations = iter(job["activations"])
    modules = [make_module(layer, tensors, activations, job["dtype"]) for layer in job["layers"]]
    model = Model(modules)
    with torch.inference_mode():
        outputs = run_batches(job, model, model.state_sizes)
    return {"outputs": outputs, "loaded": loaded, "why_not": why, "layer": names(modules)}


def names(modules):
    return ", ".join(sorted({"torch.nn." + type(module).__name__ for module in modules}))


def read_tensors(job):
    """{tensor name: torch tensor} by torch's own loader, or from the arrays of the request."""
    why = job["why_not"]
    if job["loadable"]:
        try:
            return (
                load_file(job),
                "torch.load(weights_only=True)" if is_pickle(job) else "safetensors.torch.load_file",
                "",
            )
        except Exception as error:  # the loader may refuse for any reason: the file's own arrays remain
            why = type(error).__name__ + ": " + (str(error).strip().splitlines() or [""])[0][:120]
    arrays = {name: torch.from_numpy(np.array(array)) for name, array in load_tensors(job).items()}
    return arrays, "", why


def is_pickle(job):
    with open(job["path"], "rb") as file:
        start = file.read(9)
    return start[:2] == b"PK" or start[8:9] != b"{"


def load_file(job):
    if not is_pickle(job):
        from safetensors.torch import load_file as load_safetensors

        return load_safetensors(job["path"])
    loaded = torch.load(job["path"], map_location="cpu", weights_only=True)
    tensors = {}
    for layer in job["layers"]:
        weights = loaded
        for key in layer["root"]:
            weights = weights[key]
        tensors.update({name: weights[layer["prefix"] + key] for key, name in layer["keys"].items()})
    return tensors


def make_module(layer, tensors, activations, dtype):
    count = layer["num_layers"]
    used = {next(activations) for _ in range(count)}
    nonlinearity = used.pop()
    if used or nonlinearity not in ("tanh", "relu"):
        raise ValueError("torch.nn.%s computes tanh or relu, not %s" % (layer["module"], nonlinearity))
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

    def __init__(self, modules):
        self.modules = modules
        self.state_sizes = [m.hidden_size for m in modules for _ in range(count_states(m))]
        self.backward = any(getattr(m, "bidirectional", False) for m in modules)
        self.layers = [layer for m in modules for layer in split(m)] if self.backward else []

    def run(self, x, states):
        x = torch.from_numpy(x)
        states, finals = list(states), []
        for module in self.modules:
            count = count_states(module)
            x, last = call(module, x, [torch.from_numpy(np.asarray(h)) for h in states[:count]])
            finals += [h.numpy() for h in last]
            states = states[count:]
        return x.numpy(), finals


def count_states(module):
    if isinstance(module, torch.nn.RNNCell):
        return 1
    return module.num_layers * (2 if module.bidirectional else 1)


def call(module, x, states):
    """x (B, T, I) and a list of (B, H) through one module."""
    if isinstance(module, torch.nn.RNNCell):
        h, outputs = states[0], []
        for t in range(x.shape[1]):
            h = module(x[:, t], h)
            outputs.append(h)
        return torch.stack(outputs, 1), [h]
    y, last = module(x, torch.stack(states))
    return y, list(last)


def split(module):
    """The layers of one module as single forward modules with the same parameters, for long bidirectional runs."""
    if isinstance(module, torch.nn.RNNCell):
        return [("concat", True, [(False, lambda x, h: as_arrays(call(module, *as_tensors(x, h))))])]
    layers = []
    for k in range(module.num_layers):
        directions = []
        for suffix in ("", "_reverse")[: 2 if module.bidirectional else 1]:
            named = {key: getattr(module, key.replace("_l0", "_l%d" % k) + suffix) for key in keys(module)}
            width = named["weight_ih_l0"].shape[1]
            single = torch.nn.RNN(
                width, module.hidden_size, 1, module.nonlinearity, module.bias, True, dtype=named["weight_ih_l0"].dtype
            )
            single.load_state_dict({key: value.detach() for key, value in named.items()})
            directions.append((suffix != "", lambda x, h, m=single: as_arrays(call(m, *as_tensors(x, h)))))
        layers.append(("concat", True, directions))
    return layers


def keys(module):
    return ["weight_ih_l0", "weight_hh_l0"] + (["bias_ih_l0", "bias_hh_l0"] if module.bias else [])


def as_tensors(x, h):
    return torch.from_numpy(np.ascontiguousarray(x)), [torch.from_numpy(np.asarray(h))]


def as_arrays(result):
    return result[0].numpy(), result[1][0].numpy()
