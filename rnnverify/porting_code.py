"""The lines of code that port a network by hand: the weights of a file, under its own names, into another framework."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
class _Weights:
    """Expressions for the weights of one direction; `turned` where the matrices are (H, I) and (H, H)."""

    kernel: str
    recurrent_kernel: str
    turned: bool
    biases: tuple[str, ...]  # (H,) each: none, one, or the input's and the recurrent one

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
    layout = lay_out(reading.network, framework, Path(framework))
    if any(layer.cell != "rnn" for layer in reading.network.layers):
        found = "holds gated cells, whose porting code this version does not print"
        raise UnsupportedError(Path(framework), found, "leave out --show-code")
    weights = list(_expressions(reading))
    directions = [direction for _, _, direction in reading.network.directions()]
    code = {"torch": _torch, "keras": _keras, "tensorflow": _tensorflow}[framework]
    return "\n".join(code(layout, list(zip(weights, directions, strict=True)))) + "\n"


def _transposed(text: str, turned: bool) -> str:
    return f"{text}.T" if turned else text


def _array(name: object) -> str:
    return f"source[{json.dumps(str(name))}]"


def _expressions(reading: Reading) -> Iterator[_Weights]:
    """The weights of every direction, in the order of `Network.directions`."""
    for spec in reading.recipe.layers:
        yield from {"torch": _from_torch, "keras": _from_keras, "tensorflow": _from_tensorflow}[
            reading.recipe.framework
        ](spec)


def _from_torch(spec: Mapping[str, Any]) -> Iterator[_Weights]:
    if spec["module"] == "Cell":
        yield _from_cell_by_hand(spec)
        return
    keys = spec["keys"]
    for k in range(spec["num_layers"]):
        for end in ("", "_reverse") if spec["bidirectional"] else ("",):
            suffix = f"_l{k}{end}" if spec["module"] == "RNN" else ""
            biases = [keys[kind + suffix] for kind in ("bias_ih", "bias_hh") if kind + suffix in keys]
            kernel, recurrent = (_array(keys[kind + suffix]) for kind in ("weight_ih", "weight_hh"))
            yield _Weights(kernel, recurrent, True, tuple(map(_array, biases)))


def _from_cell_by_hand(spec: Mapping[str, Any]) -> _Weights:
    uses = {use: _array(name) for use, name in spec["uses"].items()}
    biases = tuple(uses[use] for use in ("both_bias", "input_bias", "recurrent_bias") if use in uses)
    if "both" not in uses:
        return _Weights(uses["input"], uses["recurrent"], spec["form"] != "matmul", biases)
    first = spec["input_size"] if spec["form"] == "xh" else spec["hidden_size"]
    parts = [f"{uses['both']}[:, :{first}]", f"{uses['both']}[:, {first}:]"]
    kernel, recurrent = parts if spec["form"] == "xh" else parts[::-1]
    return _Weights(kernel, recurrent, True, biases)


def _from_keras(spec: Mapping[str, Any]) -> Iterator[_Weights]:
    for k in range(len(spec["cells"])):
        for cells in spec["tensors"]:
            kernel, recurrent, *biases = map(_array, cells[k])
            yield _Weights(kernel, recurrent, False, tuple(biases))


def _from_tensorflow(spec: Mapping[str, Any]) -> Iterator[_Weights]:
    for names in spec["directions"]:
        biases = (_array(names["bias"]),) if names.get("bias") else ()
        kernel = _array(names["kernel"])
        if names.get("recurrent_kernel"):
            yield _Weights(kernel, _array(names["recurrent_kernel"]), False, biases)
        else:
            first = spec["hidden_size"] if names.get("state_first") else spec["input_size"]
            parts = [f"{kernel}[:{first}]", f"{kernel}[{first}:]"]
            over_x, over_h = parts[::-1] if names.get("state_first") else parts
            yield _Weights(over_x, over_h, False, biases)


Pairs = Sequence[tuple[_Weights, Direction]]


def _torch(layout: Layout, pairs: Pairs) -> Iterator[str]:
    yield from ("import torch", "", _HEAD)
    left = list(pairs)
    for made in layout.layers:
        name = made["prefix"][:-1] or "rnn"
        options = [f"num_layers={made['num_layers']}"] * (made["num_layers"] > 1)
        options += [f'nonlinearity="{made["nonlinearity"]}"', *(["bias=False"] if not made["bias"] else [])]
        options += ["bidirectional=True"] * made["bidirectional"] + [f"batch_first=True, dtype=torch.{made['dtype']}"]
        yield f"{name} = torch.nn.RNN({made['input_size']}, {made['hidden_size']}, {', '.join(options)})"
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
