"""The lines of code that port a network by hand: the weights of a file, under its own names, into another framework."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnverify.adapters.layouts import Layout, lay_out
from rnnverify.adapters.reading import Reading
from rnnverify.canonical import Direction
from rnnverify.containers.contents import FrameworkName
from rnnverify.errors import UnsupportedError

_HEAD = "# source[name] is the array that the file holds under that name; `rnnverify inspect` lists them"


@dataclass(frozen=True)
class Weights:
    """Expressions for the weights of one direction; `turned` where the matrices are (H, I) and (H, H)."""

    kernel: str
    recurrent_kernel: str
    turned: bool
    biases: tuple[str, ...]  # (H,) each: none, one, or the input's and the recurrent one
    projection: str = ""  # (P, H) as PyTorch has it

    def rows(self) -> tuple[str, str]:
        """Both matrices as x @ kernel + h @ recurrent_kernel take them: (I, H) and (H, H)."""
        return _transposed(self.kernel, self.turned), _transposed(self.recurrent_kernel, self.turned)

    def columns(self) -> tuple[str, str]:
        """Both as W x + U h take them: (H, I) and (H, H)."""
        return _transposed(self.kernel, not self.turned), _transposed(self.recurrent_kernel, not self.turned)

    @property
    def bias(self) -> str:
        return " + ".join(self.biases)


def porting_code(reading: Reading, framework: FrameworkName) -> str:
    """Python that puts the weights of `reading` into layers of `framework`, line by line.

    Raises UnsupportedError for what these layers cannot compute. The layouts are those of `adapters.layouts`.
    """
    if framework in ("flax", "equinox"):
        found = "is a framework into which this version prints no porting code"
        raise UnsupportedError(Path(framework), found, "leave out --show-code")
    layout = lay_out(reading.network, framework, Path(framework))
    if not in_one_line_each(reading, framework):
        found = "holds gated cells, whose porting code this version prints from PyTorch to PyTorch alone"
        raise UnsupportedError(Path(framework), found, "leave out --show-code")
    if reading.recipe.framework == "onnx" and len(list(expressions(reading))) < len(list(reading.network.directions())):
        found = "weights that lie behind operations of the graph have no line of their own"
        raise UnsupportedError(Path("onnx"), found, "leave out --show-code")
    weights = list(expressions(reading))
    directions = [direction for _, _, direction in reading.network.directions()]
    code = {"torch": _torch, "keras": _keras, "tensorflow": _tensorflow, "onnx": _onnx}[framework]
    return "\n".join(code(layout, list(zip(weights, directions, strict=True)))) + "\n"


def in_one_line_each(reading: Reading, framework: FrameworkName) -> bool:
    """Whether `expressions` says all that `framework` needs: it has no line for gates in another order."""
    vanilla = all(layer.cell == "rnn" for layer in reading.network.layers)
    return vanilla or framework == reading.recipe.framework == "torch"


def _transposed(text: str, turned: bool) -> str:
    return f"{text}.T" if turned else text


Array = Callable[[object], str]
"""The expression for a tensor of the file by its name."""


def expressions(reading: Reading, holder: str = "source") -> Iterator[Weights]:
    """The weights of every direction, in the order of `Network.directions`: tensors of `holder`, as in source[name]."""

    def array(name: object) -> str:
        return f"{holder}[{json.dumps(str(name))}]"

    sources = {"torch": _from_torch, "keras": _from_keras, "tensorflow": _from_tensorflow, "flax": _from_flax}
    sources["onnx"] = _from_onnx
    for spec in reading.recipe.layers:
        yield from sources[reading.recipe.framework](spec, array)


def _from_torch(spec: Mapping[str, Any], array: Array) -> Iterator[Weights]:
    if spec["module"] == "Cell":
        yield _from_cell_by_hand(spec, array)
        return
    keys = spec["keys"]
    for k in range(spec["num_layers"]):
        for end in ("", "_reverse") if spec["bidirectional"] else ("",):
            suffix = "" if spec["module"].endswith("Cell") else f"_l{k}{end}"
            biases = [keys[kind + suffix] for kind in ("bias_ih", "bias_hh") if kind + suffix in keys]
            kernel, recurrent = (array(keys[kind + suffix]) for kind in ("weight_ih", "weight_hh"))
            projection = array(keys["weight_hr" + suffix]) if "weight_hr" + suffix in keys else ""
            yield Weights(kernel, recurrent, True, tuple(map(array, biases)), projection)


def _from_cell_by_hand(spec: Mapping[str, Any], array: Array) -> Weights:
    uses = {use: array(name) for use, name in spec["uses"].items()}
    biases = tuple(uses[use] for use in ("both_bias", "input_bias", "recurrent_bias") if use in uses)
    if "both" not in uses:
        return Weights(uses["input"], uses["recurrent"], spec["form"] != "matmul", biases)
    first = spec["input_size"] if spec["form"] == "xh" else spec["hidden_size"]
    parts = [f"{uses['both']}[:, :{first}]", f"{uses['both']}[:, {first}:]"]
    kernel, recurrent = parts if spec["form"] == "xh" else parts[::-1]
    return Weights(kernel, recurrent, True, biases)


def _from_keras(spec: Mapping[str, Any], array: Array) -> Iterator[Weights]:
    for k in range(len(spec["cells"])):
        for cells in spec["tensors"]:
            kernel, recurrent, *biases = map(array, cells[k])
            yield Weights(kernel, recurrent, False, tuple(biases))


def _from_tensorflow(spec: Mapping[str, Any], array: Array) -> Iterator[Weights]:
    for names in spec["directions"]:
        biases = (array(names["bias"]),) if names.get("bias") else ()
        kernel = array(names["kernel"])
        if names.get("recurrent_kernel"):
            yield Weights(kernel, array(names["recurrent_kernel"]), False, biases)
        else:
            first = spec["hidden_size"] if names.get("state_first") else spec["input_size"]
            parts = [f"{kernel}[:{first}]", f"{kernel}[{first}:]"]
            over_x, over_h = parts[::-1] if names.get("state_first") else parts
            yield Weights(over_x, over_h, False, biases)


def _from_onnx(spec: Mapping[str, Any], array: Array) -> Iterator[Weights]:
    """Nothing of a node with gates, or whose weights lie behind operations of the graph."""
    for node in spec["nodes"]:
        H = node["hidden_size"]
        if node["op"] != "RNN" or not node["tensors"].keys() >= {"W", "R"}:
            continue
        for d in range(len(node["ways"])):
            parts = {role: f"{array(name)}[{d}]" for role, name in node["tensors"].items()}
            biases = tuple(f"{parts['B']}[{half}]" for half in (f":{H}", f"{H}:")) if "B" in parts else ()
            yield Weights(parts["W"], parts["R"], True, biases)


def _from_flax(spec: Mapping[str, Any], array: Array) -> Iterator[Weights]:
    for names in spec["directions"]:
        over_x, over_h = ("dense_i", "dense_h") if spec["api"] == "nnx" else ("i", "h")
        keys = (f"{over_x}/kernel", f"{over_h}/kernel", f"{over_x}/bias")
        kernel, recurrent, bias = (array(names[key]) for key in keys)
        yield Weights(kernel, recurrent, False, (bias,))


Pairs = Sequence[tuple[Weights, Direction]]


def _torch(layout: Layout, pairs: Pairs) -> Iterator[str]:
    yield from ("import torch", "", _HEAD)
    left = list(pairs)
    for made in layout.layers:
        name = made["prefix"][:-1] or "rnn"
        options = [f"num_layers={made['num_layers']}"] * (made["num_layers"] > 1)
        options += [f'nonlinearity="{made["nonlinearity"]}"'] * (made["module"] == "RNN")
        options += [f"proj_size={made['proj_size']}"] * (made["proj_size"] > 0) + ["bias=False"] * (not made["bias"])
        options += ["bidirectional=True"] * made["bidirectional"] + [f"batch_first=True, dtype=torch.{made['dtype']}"]
        yield f"{name} = torch.nn.{made['module']}({made['input_size']}, {made['hidden_size']}, {', '.join(options)})"
        yield "with torch.no_grad():"
        for k in range(made["num_layers"]):
            for end in ("", "_reverse")[: 1 + made["bidirectional"]]:
                weights, _ = left.pop(0)
                for kind, text in zip(("weight_ih", "weight_hh"), weights.columns(), strict=True):
                    yield f"    {name}.{kind}_l{k}{end}.copy_(torch.from_numpy({text}))"
                for d, kind in enumerate(("bias_ih", "bias_hh") if made["bias"] else ()):
                    given = weights.biases[d : d + 1]
                    value = f"copy_(torch.from_numpy({given[0]}))" if given else "zero_()"
                    yield f"    {name}.{kind}_l{k}{end}.{value}"
                if weights.projection:
                    yield f"    {name}.weight_hr_l{k}{end}.copy_(torch.from_numpy({weights.projection}))"


def _keras(layout: Layout, pairs: Pairs) -> Iterator[str]:
    yield from ("import keras", "import numpy as np", "", _HEAD, "model = keras.Sequential([")
    yield f"    keras.Input((None, {pairs[0][1].input_size})),"
    for made in layout.layers:
        options = [f'activation="{made["activation"]}"', *(["use_bias=False"] if not made["use_bias"] else [])]
        options += ["go_backwards=True"] * made["go_backwards"] + ["return_sequences=True"]
        options += [f'dtype="{made["dtype"]}"'] * (made["dtype"] != "float32")
        name = f'name="{made["name"]}"'
        if not made["bidirectional"]:
            yield f"    keras.layers.SimpleRNN({made['units']}, {', '.join(options)}, {name}),"
        else:
            inner = f"keras.layers.SimpleRNN({made['units']}, {', '.join(options)})"
            outer = [f'merge_mode="{made["merge_mode"]}"', *options[-1:] * (made["dtype"] != "float32"), name]
            yield f"    keras.layers.Bidirectional({inner}, {', '.join(outer)}),"
    yield "])"
    left = list(pairs)
    for made in layout.layers:
        yield f'model.get_layer("{made["name"]}").set_weights(['
        for _ in made["tensors"]:
            weights, direction = left.pop(0)
            zeros = f"np.zeros({direction.hidden_size})"
            yield from (f"    {text}," for text in weights.rows())
            yield from [f"    {weights.bias or zeros},"] * made["use_bias"]
        yield "])"


def _onnx(layout: Layout, pairs: Pairs) -> Iterator[str]:
    yield from ("import numpy as np", "from onnx import helper, numpy_helper", "", _HEAD, "tensors, nodes = [], []")
    left = list(pairs)
    for made in layout.layers:
        for node in made["nodes"]:
            own = [left.pop(0) for _ in range(2 if node["attributes"]["direction"] == "bidirectional" else 1)]
            columns = [weights.columns() for weights, _ in own]
            halves = [_halves(weights.biases, direction.hidden_size) for weights, direction in own]
            stacks = [[kernel for kernel, _ in columns], [recurrent for _, recurrent in columns], halves]
            for name, stack in zip(node["tensors"], stacks, strict=False):
                value = f"np.stack([{', '.join(stack)}])"
                yield f'tensors.append(numpy_helper.from_array({value}, "{name}"))'
            stated = ", ".join(f"{key}={value!r}" for key, value in node["attributes"].items())
            name, read = node["name"], ["X", *node["tensors"]]
            outputs = [f"{name}/Y", f"{name}/h_n"]
            yield f'nodes.append(helper.make_node("{node["op"]}", {read}, {outputs}, "{name}", {stated}))'
    yield "# X is (T, B, I); a node's Y is (T, directions, B, H): before the next node put the directions beside H"


def _halves(biases: Sequence[str], H: int) -> str:
    """The biases of W and those of R, one after the other: zeros where the file has none."""
    return f"np.concatenate([{', '.join([*biases, *[f'np.zeros({H}, np.float32)'] * (2 - len(biases))])}])"


def _tensorflow(layout: Layout, pairs: Pairs) -> Iterator[str]:
    yield from ("import numpy as np", "import tensorflow as tf", "", _HEAD, "# in the graph, with a session open:")
    for made in layout.layers:
        for cell in made["cells"]:
            yield f"#   BasicRNNCell({cell['units']}), activation {cell['activation']}, in the scope {made['scope']}"
    yield "values = {"
    names = list(layout.tensors)
    for k, (weights, direction) in enumerate(pairs):
        yield f'    "{names[2 * k]}": np.concatenate([{", ".join(weights.rows())}]),'
        yield f'    "{names[2 * k + 1]}": {weights.bias or f"np.zeros({direction.hidden_size})"},'
    yield "}"
    yield "for variable in tf.compat.v1.global_variables():"
    yield "    variable.load(values[variable.op.name], session)"
