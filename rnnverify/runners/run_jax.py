"""Run a Flax file: the loader of its form, linen or nnx cells under their own nn.RNN and nn.Bidirectional.

Layers of the request, bottom to top: {"api": "linen" | "nnx", "cell": class, "input_size", "hidden_size", "merge",
"reverse" and "keep_order" of a layer with one direction, "directions": [{"module/kernel": tensor name}]}, the second
direction being the backward one.
"""

from __future__ import annotations

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from exchange import load_tensors, run_batches
from flax import linen, nnx

MERGE: Any = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
}


def run(job: dict[str, Any]) -> Any:
    jax.config.update("jax_enable_x64", job["dtype"] == "float64")
    jax.config.update("jax_default_matmul_precision", "highest")
    tensors, loaded, why = read_tensors(job)
    activations = [activation_named(name) for name in job["activations"]]
    made = [layer(*both, tensors, job["dtype"]) for both in zip(job["layers"], activations)]
    outputs = run_batches(job, Model(made, job["dtype"]))
    return {"outputs": outputs, "loaded": loaded, "why_not": why, "layer": names(job)}


def names(job: dict[str, Any]) -> Any:
    cells = {"flax.%s.%s" % (spec["api"], spec["cell"]) for spec in job["layers"]}
    both = any(len(spec["directions"]) == 2 for spec in job["layers"])
    return ", ".join(sorted(cells)) + " under " + ("Bidirectional" if both else "RNN")


def activation_named(name: Any) -> Any:
    functions = {
        "linear": lambda x: x,
        "exponential": jnp.exp,
        "keras2_hard_sigmoid": lambda x: jnp.clip(0.2 * x + 0.5, 0.0, 1.0),
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "softsign": jax.nn.soft_sign,
    }
    function = functions.get(name) or getattr(jax.nn, name, None) or getattr(jnp, name, None)
    if function is None:
        raise ValueError("JAX has no activation %s" % name)
    return function


def read_tensors(job: dict[str, Any]) -> Any:
    """{tensor name: array} by the form's own loader, or from the arrays of the request."""
    why = job["why_not"]
    if job["loadable"]:
        try:
            tensors, how = load_file(job["path"])
            return {name: tensors[name] for name in job["tensors"]}, how, ""
        except Exception as error:  # the loader may refuse for any reason: the file's own arrays remain
            why = type(error).__name__ + ": " + (str(error).strip().splitlines() or [""])[0][:120]
    return load_tensors(job), "", why


def load_file(path: str) -> Any:
    """{name as the reader has it: array}, and by which loader."""
    if os.path.isdir(path):
        import orbax.checkpoint

        tree = orbax.checkpoint.PyTreeCheckpointer().restore(path)
        return flattened(tree, "."), "orbax.checkpoint.PyTreeCheckpointer.restore"
    with open(path, "rb") as file:
        start = file.read(9)
    if start[:2] == b"PK":
        return dict(np.load(path, allow_pickle=False)), "numpy.load"
    if start[8:9] == b"{":
        import safetensors.flax

        return safetensors.flax.load_file(path), "safetensors.flax.load_file"
    with open(path, "rb") as file:
        return flattened(flax.serialization.msgpack_restore(file.read()), "/"), "flax.serialization.msgpack_restore"


def flattened(tree: Any, joint: str, keys: Any = ()) -> Any:
    """The leaves of nested dicts and lists, by the keys that lead to them."""
    if isinstance(tree, (list, tuple)):
        tree = dict(enumerate(tree))
    if not isinstance(tree, dict):
        return {joint.join(keys): tree}
    return {
        name: leaf for key, value in tree.items() for name, leaf in flattened(value, joint, (*keys, str(key))).items()
    }


def layer(spec: Any, activation: Any, tensors: Any, dtype: Any) -> Any:
    """One layer of the request as a `Layer`, holding the file's own arrays."""
    weights = [
        nested({key: jnp.asarray(np.asarray(tensors[name]), dtype) for key, name in names.items()})
        for names in spec["directions"]
    ]
    return Layer(spec, {"linen": Linen, "nnx": Nnx}[spec["api"]](spec, activation, getattr(jnp, dtype)), weights)


def nested(weights: Any) -> Any:
    """{"i/kernel": array} as {"i": {"kernel": array}}."""
    tree: Any = {}
    for key, array in weights.items():
        module, _, kind = key.partition("/")
        tree.setdefault(module, {})[kind] = array
    return tree


class Linen:
    """How linen makes a layer, and calls it: the parameters stand beside the module."""

    def __init__(self, spec: Any, activation: Any, dtype: Any) -> None:
        self.make = getattr(linen, spec["cell"])
        self.options = {"activation_fn": activation, "dtype": dtype, "param_dtype": dtype}
        self.features = spec["hidden_size"]

    def cell(self, weights: Any) -> Any:  # noqa: ARG002 - as in Nnx
        return self.make(self.features, **self.options)

    def one(self, weights: Any, **options: Any) -> Any:
        return self.ready(linen.RNN(self.cell(weights), **options), {"cell": weights})

    def both(self, weights: Any, merge: Any) -> Any:
        forward, backward = [linen.RNN(self.cell(each)) for each in weights]
        tree = {name: {"cell": each} for name, each in zip(("forward_rnn", "backward_rnn"), weights)}
        return self.ready(linen.Bidirectional(forward, backward, merge_fn=merge), tree)

    def ready(self, module: Any, parameters: Any) -> Any:
        apply = jax.jit(lambda tree, x, carry: module.apply(tree, x, initial_carry=carry, return_carry=True))
        return lambda x, carry: apply({"params": parameters}, x, carry)


class Nnx:
    """How nnx makes a layer, and calls it: the parameters are the module's own."""

    def __init__(self, spec: Any, activation: Any, dtype: Any) -> None:
        self.make = getattr(nnx, spec["cell"])
        self.options = {"activation_fn": activation, "dtype": dtype, "param_dtype": dtype}
        self.sizes = spec["input_size"], spec["hidden_size"]

    def cell(self, weights: Any) -> Any:
        cell = self.make(*self.sizes, rngs=nnx.Rngs(0), **self.options)
        for module, arrays in weights.items():
            for kind, array in arrays.items():
                setattr(getattr(cell, module), kind, nnx.Param(array))
        return cell

    def one(self, weights: Any, **options: Any) -> Any:
        return self.ready(nnx.RNN(self.cell(weights), **options))

    def both(self, weights: Any, merge: Any) -> Any:
        forward, backward = [nnx.RNN(self.cell(each)) for each in weights]
        return self.ready(nnx.Bidirectional(forward, backward, merge_fn=merge))

    def ready(self, module: Any) -> Any:
        call = nnx.jit(lambda module, x, carry: module(x, initial_carry=carry, return_carry=True))
        return lambda x, carry: call(module, x, carry)


class Layer:
    """One nn.RNN, or an nn.Bidirectional of two, and each direction by itself, which runs forward.

    `whole` takes x (b, t, I) and a carry for each direction; it gives their last ones, y, and where there are two
    directions the outputs of each.
    """

    def __init__(self, spec: Any, api: Any, weights: Any) -> None:
        self.merge, self.hidden_size = spec["merge"], spec["hidden_size"]
        self.reverse, self.turned = spec["reverse"], spec["keep_order"]
        self.api, self.weights = api, weights
        if len(weights) == 1:
            self.called = api.one(weights[0], reverse=self.reverse, keep_order=self.turned)
        else:
            merge = MERGE[self.merge]
            self.called = api.both(weights, lambda a, b: (merge(a, b), a, b))

    def whole(self, x: Any, carries: Any) -> Any:
        if len(self.weights) == 1:
            carry, y = self.called(x, carries[0])
            return [carry], y, [y]
        carries, (y, *parts) = self.called(x, tuple(carries))
        return list(carries), y, parts

    @property
    def ways(self) -> Any:
        """[(reverse, function of x and a carry)] of each direction."""
        backward = [self.reverse] if len(self.weights) == 1 else [False, True]
        return [(way, self.api.one(each)) for way, each in zip(backward, self.weights)]


class Model:
    """A stack of layers."""

    def __init__(self, layers: Any, dtype: Any) -> None:
        self.made, self.dtype = layers, getattr(jnp, dtype)
        self.state_sizes = [layer.hidden_size for layer in layers for _ in layer.weights]
        self.backward = any(layer.reverse or len(layer.weights) == 2 for layer in layers)

    def run(self, x: Any, states: Any) -> Any:
        x, finals, shown = jnp.asarray(x, self.dtype), [], []
        carries = [jnp.asarray(h, self.dtype) for h in states]
        for layer in self.made:
            last, x, parts = layer.whole(x, carries[: len(layer.weights)])
            carries = carries[len(layer.weights) :]
            finals += last
            shown += parts
        return [as_array(a) for a in ([x, *shown] if len(shown) > 1 else [x])], [as_array(h) for h in finals]

    @property
    def layers(self) -> Any:
        """Each direction under an nn.RNN of its own, for long runs with a backward direction."""
        return [
            (layer.merge, layer.turned, [(reverse, self.arrays(run)) for reverse, run in layer.ways])
            for layer in self.made
        ]

    def arrays(self, run: Any) -> Any:
        def call(x: Any, h: Any) -> Any:
            carry, y = run(jnp.asarray(x, self.dtype), jnp.asarray(h, self.dtype))
            return as_array(y), as_array(carry)

        return call


def as_array(values: Any) -> Any:
    """As NumPy knows it: bfloat16 as float32."""
    return np.asarray(values.astype(jnp.float32) if values.dtype == jnp.bfloat16 else values)
