"""How each framework is told what is no weight: the formula of a layer, how directions are merged, the way in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnnverify.adapters.layouts import LAYOUTS, lay_out
from rnnverify.adapters.reading import Reading
from rnnverify.canonical import Layer, Network
from rnnverify.containers.contents import FrameworkName
from rnnverify.errors import UnsupportedError


@dataclass(frozen=True)
class Wording:
    """Of one framework."""

    layer: Callable[[Layer, Reading], str]  # that makes such a layer, in the place of what the reading has
    merge: Callable[[Layer], str]
    order: Callable[[Layer, bool], Iterator[str]]  # true: the layer runs the other way now


def beyond(framework: FrameworkName, k: int, layer: Layer) -> str:
    """Why no layer of `framework` computes the formula of `layer`, which is layer k; empty where one does."""
    if framework not in LAYOUTS:
        return ""
    try:
        lay_out(Network((_forward(layer),)), framework, Path(framework))
    except UnsupportedError as error:
        return f"layer {k} {error.found.removeprefix('layer 0 ')}"
    return ""


def call(name: str, /, *arguments: object, **options: object) -> str:
    """A call as it is written; options that are None are left out."""
    stated = [f"{key}={_text(value)}" for key, value in options.items() if value is not None]
    return f"{name}({', '.join([*map(str, arguments), *stated])})"


class Code(str):
    """Text that is code, and no text in it."""

    __slots__ = ()


def _text(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) and not isinstance(value, Code) else str(value)


def torch_module(made: Mapping[str, Any], **options: object) -> str:
    """The module of a layout of PyTorch."""
    return call(
        f"torch.nn.{made['module']}",
        made["input_size"],
        made["hidden_size"],
        num_layers=made["num_layers"] if made["num_layers"] > 1 else None,
        nonlinearity=made["nonlinearity"] if made["module"] == "RNN" else None,
        proj_size=made["proj_size"] or None,
        bias=None if made["bias"] else False,
        bidirectional=made["bidirectional"] or None,
        **options,
    )


def keras_layer(made: Mapping[str, Any], **options: object) -> str:
    """The layer of a layout of Keras, without what wraps it where it is bidirectional."""
    return call(
        f"keras.layers.{made['class']}",
        made["units"],
        activation=made["activation"],
        **made["gates"],
        use_bias=None if made["use_bias"] else False,
        go_backwards=made["go_backwards"] or None,
        return_sequences=True,
        **options,
    )


def tensorflow_cell(made: Mapping[str, Any], direction: int = 0) -> str:
    """The cell of a layout of TensorFlow that runs in that direction."""
    return call(
        f"tf.compat.v1.nn.rnn_cell.{made['class']}",
        made["units"],
        activation=Code(f"tf.nn.{made['activation']}"),
        forget_bias=made["forget_bias"][direction] if "forget_bias" in made else None,
        use_peepholes=made.get("peepholes") or None,
        num_proj=made.get("projection"),
        cell_clip=made.get("cell_clip"),
    )


def attributes(node: Mapping[str, Any]) -> str:
    """The attributes of a node of a layout of ONNX."""
    return ", ".join(f"{key}={value!r}" for key, value in node["attributes"].items())


def _forward(layer: Layer) -> Layer:
    """`layer` as one that runs forward alone: what it computes in a step, and nothing else."""
    first = replace(layer.directions[0], reverse=False)
    return replace(layer, directions=(first,), merge="concat", time_restored=True)


def _laid_out(framework: FrameworkName, layer: Layer) -> Any:
    return lay_out(Network((_forward(layer),)), framework, Path(framework)).layers[0]


def _flax_cell(layer: Layer, reading: Reading) -> str:
    spec = reading.recipe.layers[0]
    return call(
        f"nn.{spec['cell']}",
        layer.hidden_size,
        activation_fn=Code(f"jax.nn.{layer.activation}"),
        gate_fn=None if layer.cell == "rnn" else Code(f"jax.nn.{layer.gating.activation}"),
    )


def _equinox_cell(layer: Layer, _: Reading) -> str:
    return call(f"equinox.nn.{layer.cell.upper()}Cell", layer.input_size, layer.hidden_size, key=Code("key"))


_MERGES = {"sum": "{} + {}", "mul": "{} * {}", "ave": "({} + {}) / 2", "concat": "{join}([{}, {}], -1)"}


def _merged(first: str, second: str, join: str) -> Callable[[Layer], str]:
    return lambda layer: "y = " + _MERGES[layer.merge].format(first, second, join=join)


def _torch_merge(layer: Layer) -> str:
    H = layer.state_size
    return _merged(f"y[..., :{H}]", f"y[..., {H}:]", "torch.cat")(layer)


def _flax_merge(layer: Layer) -> str:
    merged = _MERGES[layer.merge].format("a", "b", join="jnp.concatenate")
    return f"nn.Bidirectional(forward, backward, merge_fn=lambda a, b: {merged})"


def _flipped(flip: str) -> Callable[[Layer, bool], Iterator[str]]:
    """Of layers that run forward only: what they read and give is turned around them."""

    def order(layer: Layer, changed: bool) -> Iterator[str]:
        reverse = layer.directions[0].reverse
        if changed:
            yield f"x = {flip.format('x')}" + ("" if reverse else "  # once, not twice")
        if reverse and layer.time_restored:
            yield f"y = {flip.format('y')}"

    return order


def _keras_order(layer: Layer, _: bool) -> Iterator[str]:
    reverse = layer.directions[0].reverse
    kind = {"rnn": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}[layer.cell]
    yield call(f"keras.layers.{kind}", layer.hidden_size, go_backwards=reverse, return_sequences=True)
    if reverse and layer.time_restored:
        yield "y = y[:, ::-1]"


def _onnx_order(layer: Layer, _: bool) -> Iterator[str]:
    yield f"# of the node: direction={'reverse' if layer.directions[0].reverse else 'forward'!r}"


def _flax_order(layer: Layer, _: bool) -> Iterator[str]:
    reverse = layer.directions[0].reverse
    yield f"nn.RNN(cell, reverse={reverse}, keep_order={reverse and layer.time_restored})"


WORDINGS: Mapping[FrameworkName, Wording] = {
    "torch": Wording(lambda y, _: torch_module(_laid_out("torch", y)), _torch_merge, _flipped("{}.flip(1)")),
    "keras": Wording(
        lambda y, _: keras_layer(_laid_out("keras", y)),
        lambda y: f'keras.layers.Bidirectional(layer, merge_mode="{y.merge}")',
        _keras_order,
    ),
    "tensorflow": Wording(
        lambda y, _: tensorflow_cell(_laid_out("tensorflow", y)["cells"][0]),
        _merged("outputs[0]", "outputs[1]", "tf.concat"),
        _flipped("tf.reverse({}, [1])"),
    ),
    "onnx": Wording(
        lambda y, _: f"# of the node: {attributes(_laid_out('onnx', y)['nodes'][0])}",
        _merged("Y[:, 0]", "Y[:, 1]", "np.concatenate"),
        _onnx_order,
    ),
    "flax": Wording(_flax_cell, _flax_merge, _flax_order),
    "equinox": Wording(_equinox_cell, _merged("forward", "backward", "jnp.concatenate"), _flipped("{}[:, ::-1]")),
}
"""What is said of each framework."""
