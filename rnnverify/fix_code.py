"""The lines of code that would have been right: wrong tensors of one file from those of another, by their names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnnverify.adapters.reading import Reading
from rnnverify.canonical import Layer
from rnnverify.finding import Finding
from rnnverify.porting_code import Weights, expressions, in_one_line_each


@dataclass(frozen=True)
class Target:
    """Where one direction keeps a tensor: its name in the file, which tensors it holds, and the line that sets it."""

    name: str
    holds: frozenset[str]  # of "kernel", "recurrent kernel", "bias", "projection"
    line: str


def with_code(
    findings: tuple[Finding, ...], labels: tuple[str, str], readings: Mapping[str, Reading]
) -> tuple[Finding, ...]:
    """`findings` of a pair of sides, with the names of the wrong tensors, and code where both sides are files.

    In the code `A[name]` is the array that side A holds under that name; a comment says so.
    """
    return tuple(_with_code(each, labels[each.side == labels[0]], readings) for each in findings)


def _with_code(finding: Finding, other: str, readings: Mapping[str, Reading]) -> Finding:
    wrong, right = readings.get(finding.side), readings.get(other)
    if wrong is None:
        return finding
    if right and not (in_one_line_each(right, wrong.recipe.framework) and in_one_line_each(wrong, "torch")):
        right = None  # no lines for gates in another order: the names alone
    weights = list(expressions(right, other)) if right else [None] * len(list(wrong.network.directions()))
    if len(weights) != len(list(wrong.network.directions())):
        return finding
    chosen: dict[str, Target] = {}
    for (where, _, d), place, given in zip(wrong.network.directions(), _places(wrong), weights, strict=True):
        parts = set(_parts(where, finding.tensors))
        given = given or Weights("kernel", "recurrent_kernel", False, ("bias",), "projection")
        for target in _targets(wrong.recipe.framework, place, given, d.hidden_size):
            if target.holds & parts:
                chosen[target.line] = target
    names = tuple(dict.fromkeys(target.name for target in chosen.values() if target.name))
    if right is None:
        return replace(finding, names=names)
    head = [f"# {other}[name]: the array that {other} holds; {_HELD[wrong.recipe.framework]}"] * any(chosen)
    return replace(finding, names=names, code=(*head, *chosen, *_facts(finding.tensors, right, wrong)))


def _parts(where: str, tensors: Sequence[str]) -> Iterator[str]:
    """What of the direction `where` is among `tensors`: "kernel", "recurrent kernel", "bias", "projection"."""
    for tensor in tensors:
        start, _, part = tensor.partition(f"{where} ")
        if not start and part in ("kernel", "recurrent kernel", "projection"):
            yield part
        elif not start and "bias" in part and not part.startswith("reverse"):
            yield "bias"  # of all gates, or of some


_HELD = {
    "torch": "state_dict: what is loaded or saved",
    "keras": "model: the Keras model",
    "onnx": "tensors: {t.name: numpy_helper.to_array(t).copy() for t in model.graph.initializer}",
    "tensorflow": "variables: {v.op.name: v for v in tf.compat.v1.global_variables()}",
    "flax": "flat: the arrays of the file by their names, as flax.traverse_util.flatten_dict has them",
}


Place = Mapping[str, Any]
"""What the recipe says of one direction."""


def _places(reading: Reading) -> Iterator[Place]:
    """Of every direction, in the order of `Network.directions`."""
    for spec in reading.recipe.layers:
        if reading.recipe.framework in ("tensorflow", "flax", "equinox"):
            yield from ({"spec": spec, "names": names} for names in _listed(spec["directions"]))
        elif reading.recipe.framework == "keras":
            for c in range(len(_listed(spec["cells"]))):
                for j, cells in enumerate(_listed(spec["tensors"])):
                    yield {"spec": spec, "names": cells[c], "cell": c, "direction": j}
        elif reading.recipe.framework == "onnx":
            for node in _listed(spec["nodes"]):
                yield from ({"spec": spec, "node": node, "direction": d} for d in range(len(node["ways"])))
        elif spec["module"] == "Cell":
            yield {"spec": spec}
        else:
            cell = str(spec["module"]).endswith("Cell")
            ends = ("", "_reverse") if spec["bidirectional"] else ("",)
            for k in range(int(str(spec["num_layers"]))):
                yield from ({"spec": spec, "suffix": f"_l{k}{end}" * (not cell)} for end in ends)


def _listed(value: object) -> Sequence[Any]:
    assert isinstance(value, (list, tuple))
    return value


def _targets(framework: str, place: Place, given: Weights, H: int) -> Iterator[Target]:
    if framework == "keras":
        yield from _keras(place, given, H)
    elif framework == "tensorflow":
        yield from _tensorflow(place, given, H)
    elif framework == "onnx":
        yield from _onnx(place, given, H)
    elif framework in ("flax", "equinox"):
        yield from _flax(place, given, H)
    elif place["spec"]["module"] == "Cell":
        yield from _by_hand(place["spec"], given, H)
    else:
        yield from _torch(place, given, H)


def _torch(place: Place, given: Weights, H: int) -> Iterator[Target]:
    keys, suffix = place["spec"]["keys"], place["suffix"]
    for kind, holds, text in zip(("weight_ih", "weight_hh"), _KERNELS, given.columns(), strict=True):
        yield _in_state_dict(keys[kind + suffix], holds, text)
    for k, kind in enumerate(("bias_ih", "bias_hh")):
        if kind + suffix in keys:
            yield _in_state_dict(keys[kind + suffix], _BIAS, given.biases[k] if k < len(given.biases) else "", H)
        elif not k and given.biases:
            module = place["spec"]["module"]
            yield Target("", _BIAS, f"# torch.nn.{module}(..., bias=True): bias_ih and bias_hh are missing")
    if given.projection and "weight_hr" + suffix in keys:
        yield _in_state_dict(keys["weight_hr" + suffix], _PROJECTION, given.projection)


_KERNELS = (frozenset({"kernel"}), frozenset({"recurrent kernel"}))
_BIAS = frozenset({"bias"})
_PROJECTION = frozenset({"projection"})


def _in_state_dict(name: str, holds: frozenset[str], text: str, H: int = 0) -> Target:
    value = f"torch.from_numpy({text})" if text else f"torch.zeros({H})"
    return Target(name, holds, f"state_dict[{json.dumps(name)}] = {value}")


def _onnx(place: Place, given: Weights, H: int) -> Iterator[Target]:
    node, d = place["node"], place["direction"]
    names = node["tensors"] if node["op"] == "RNN" else {}
    halves = [*given.biases, *[f"np.zeros({H})"] * (2 - len(given.biases))]
    texts = (*given.columns(), f"np.concatenate([{', '.join(halves)}])")
    for role, holds, text in zip("WRB", (*_KERNELS, _BIAS), texts, strict=True):
        if role in names:
            yield Target(names[role], holds, f"tensors[{json.dumps(names[role])}][{d}] = {text}")
    if names and "B" not in names and given.biases:
        yield Target("", _BIAS, "# the node has no B: give it one of shape (directions, 2 * hidden_size)")


def _by_hand(spec: Mapping[str, Any], given: Weights, H: int) -> Iterator[Target]:
    uses = spec["uses"]
    kernel, recurrent = given.rows() if spec["form"] == "matmul" else given.columns()
    if "both" in uses:
        order = [kernel, recurrent] if spec["form"] == "xh" else [recurrent, kernel]
        joined = f"np.concatenate([{', '.join(order)}], axis=1)"
        yield _in_state_dict(uses["both"], frozenset().union(*_KERNELS), joined)
    else:
        yield _in_state_dict(uses["input"], _KERNELS[0], kernel)
        yield _in_state_dict(uses["recurrent"], _KERNELS[1], recurrent)
    named = [uses[use] for use in ("both_bias", "input_bias", "recurrent_bias") if use in uses]
    for k, name in enumerate(named):
        text = given.bias if len(named) == 1 else given.biases[k] if k < len(given.biases) else ""
        yield _in_state_dict(name, _BIAS, text, H)


def _keras(place: Place, given: Weights, H: int) -> Iterator[Target]:
    spec = place["spec"]
    layer = "model" + "".join(f".get_layer({json.dumps(str(name))})" for name in spec["path"])
    layer += ((".forward_layer", ".backward_layer")[place["direction"]]) * spec["bidirectional"] + ".cell"
    layer += f".cells[{place['cell']}]" * (len(spec["cells"]) > 1)
    texts = (*given.rows(), given.bias or f"np.zeros({H})")
    variables = ("kernel", "recurrent_kernel", "bias")
    for name, variable, holds, text in zip(place["names"], variables, (*_KERNELS, _BIAS), texts, strict=False):
        yield Target(name, holds, f"{layer}.{variable}.assign({text})")
    if len(place["names"]) < 3 and given.biases:
        yield Target("", _BIAS, f"# {layer} has no bias: use_bias=True")


def _tensorflow(place: Place, given: Weights, H: int) -> Iterator[Target]:
    names = place["names"]
    if "kind" in names:  # of a cell with gates: no lines, the names alone
        for key, stored in names.items():
            holds = _BIAS if "bias" in key else frozenset().union(*_KERNELS)
            yield from (Target(name, holds, f"# {name}") for name in stored if isinstance(stored, list))
        return
    kernel, recurrent = given.rows()
    if names.get("recurrent_kernel"):
        yield _loaded(names["kernel"], _KERNELS[0], kernel)
        yield _loaded(names["recurrent_kernel"], _KERNELS[1], recurrent)
    else:
        order = [recurrent, kernel] if names.get("state_first") else [kernel, recurrent]
        yield _loaded(names["kernel"], frozenset().union(*_KERNELS), f"np.concatenate([{', '.join(order)}])")
    if names.get("bias"):
        yield _loaded(names["bias"], _BIAS, given.bias or f"np.zeros({H})")


def _loaded(name: str, holds: frozenset[str], text: str) -> Target:
    return Target(name, holds, f"variables[{json.dumps(name)}].load({text}, session)")


def _flax(place: Place, given: Weights, H: int) -> Iterator[Target]:
    """Of a tree of Flax (`hn/kernel`, `dense_i/bias`) or of Equinox (`weight_hh`, `bias_n`)."""
    for key, name in place["names"].items():
        over_h = key.removeprefix("dense_").startswith(("h", "weight_hh"))
        bias = "bias" in key
        holds, text = (_BIAS, given.bias) if bias else (_KERNELS[over_h], given.rows()[over_h])
        yield Target(name, holds, f"flat[{json.dumps(name)}] = {text or f'np.zeros({H})'}")


def _facts(tensors: Sequence[str], right: Reading, wrong: Reading) -> Iterator[str]:
    """Lines for what is no tensor: the activation, the merge mode, the order of time."""
    framework = wrong.recipe.framework
    for k, (layer, ours) in enumerate(zip(right.network.layers, wrong.network.layers, strict=True)):
        if f"layer {k} activation" in tensors:
            yield _activation(framework, layer)
        if f"layer {k} merge mode" in tensors:
            yield _merge(framework, layer)
        if f"layer {k} order of time" in tensors and not layer.bidirectional:
            yield from _order(framework, layer, ours)


def _activation(framework: str, layer: Layer) -> str:
    name, H = layer.activation, layer.hidden_size
    if framework == "keras":
        return f'keras.layers.SimpleRNN({H}, activation="{name}", return_sequences=True)'
    if framework == "tensorflow":
        return f"tf.compat.v1.nn.rnn_cell.BasicRNNCell({H}, activation=tf.nn.{name})"
    if framework == "onnx":
        return f"# of the RNN node: activations that compute {name}"
    if framework == "flax":
        return f"nn.SimpleCell({H}, activation_fn=jax.nn.{name})"
    if name in ("tanh", "relu"):
        return f'torch.nn.RNN({layer.input_size}, {H}, nonlinearity="{name}")'
    return f"# torch.nn.RNN has no {name}: compute each step with torch.nn.Linear, and apply it"


def _merge(framework: str, layer: Layer) -> str:
    if framework == "keras":
        return f'keras.layers.Bidirectional(layer, merge_mode="{layer.merge}")'
    if framework == "flax":
        both = {"sum": "a + b", "mul": "a * b", "ave": "(a + b) / 2", "concat": "jnp.concatenate([a, b], -1)"}
        return f"nn.Bidirectional(forward, backward, merge_fn=lambda a, b: {both[layer.merge]})"
    H = layer.hidden_size
    forward, backward = (f"y[..., :{H}]", f"y[..., {H}:]") if framework == "torch" else ("outputs[0]", "outputs[1]")
    if framework == "onnx":
        forward, backward = "Y[:, 0]", "Y[:, 1]"
    words = {"sum": "{} + {}", "mul": "{} * {}", "ave": "({} + {}) / 2", "concat": "concat([{}, {}], -1)"}[layer.merge]
    return f"y = {words.format(forward, backward)}"


def _order(framework: str, layer: Layer, ours: Layer) -> Iterator[str]:
    """Where a layer of one direction runs the other way, or hands on its outputs in another order."""
    reverse, turned = layer.directions[0].reverse, ours.directions[0].reverse
    if framework == "keras":
        yield f"keras.layers.SimpleRNN({layer.hidden_size}, go_backwards={reverse}, return_sequences=True)"
        if reverse and layer.time_restored:
            yield "y = y[:, ::-1]"
        return
    if framework == "onnx":
        yield f"# of the RNN node: direction={'reverse' if reverse else 'forward'!r}"
        return
    if framework == "flax":
        yield f"nn.RNN(cell, reverse={reverse}, keep_order={reverse and layer.time_restored})"
        return
    flip = "{}.flip(1)" if framework == "torch" else "tf.reverse({}, [1])"
    if reverse != turned:
        yield f"x = {flip.format('x')}" + ("" if reverse else "  # once, not twice")
    if reverse and layer.time_restored:
        yield f"y = {flip.format('y')}"
