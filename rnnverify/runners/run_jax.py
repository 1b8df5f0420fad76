"""Run a Flax or Equinox file: the loader of its form, and its own cells, under nn.RNN and nn.Bidirectional or a scan.

Layers of the request, bottom to top: {"api": "linen" | "nnx" | "equinox", "cell": class, "input_size", "hidden_size",
"merge", "reverse" and "keep_order" of a layer with one direction, "directions": [{parameter: tensor name}]}, the second
direction being the backward one. A parameter of Flax is "module/kernel" or "module/bias".
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from exchange import run_batches
from jax_cells import INTERFACES, MERGE
from jax_files import read_tensors


def run(job: dict[str, Any]) -> Any:
    jax.config.update("jax_enable_x64", job["dtype"] == "float64")
    jax.config.update("jax_default_matmul_precision", "highest")
    tensors, loaded, why = read_tensors(job)
    activations = zip(map(activation_named, job["activations"]), job["gates"])
    layers = [layer(*both, tensors, job["dtype"]) for both in zip(job["layers"], activations)]
    outputs = run_batches(job, Model(layers, job["dtype"]))
    result = {"outputs": outputs, "loaded": loaded, "why_not": why, "layer": names(job["layers"])}
    return dict(result, versions=versions(("jax", job["framework"])))


def versions(packages: Any) -> Any:
    return {name: sys.modules[name].__version__ for name in packages}


def names(specs: Any) -> Any:
    libraries = {"linen": "flax.linen", "nnx": "flax.nnx", "equinox": "equinox.nn"}
    cells = ", ".join(sorted({libraries[spec["api"]] + "." + spec["cell"] for spec in specs}))
    if specs[0]["api"] == "equinox":
        return cells + " under jax.lax.scan"
    return cells + " under " + ("Bidirectional" if any(len(spec["directions"]) == 2 for spec in specs) else "RNN")


def activation_named(name: Any) -> Any:
    functions = {
        "linear": lambda x: x,
        "exponential": jnp.exp,
        "keras2_hard_sigmoid": lambda x: jnp.clip(0.2 * x + 0.5, 0.0, 1.0),
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "softsign": jax.nn.soft_sign,
        "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.2),  # the slope of Keras; JAX's own default is 0.01
        "tanh_shrink": lambda x: x - jnp.tanh(x),
    }
    function = functions.get(name) or getattr(jax.nn, name, None) or getattr(jnp, name, None)
    if function is None:
        raise ValueError("JAX has no activation %s" % name)
    return function


def layer(spec: Any, activations: Any, tensors: Any, dtype: Any) -> Any:
    """One layer of the request as a `Layer`, holding the file's own arrays."""
    activation, gates = activations
    weights = [
        {key: jnp.asarray(np.asarray(tensors[name]), dtype) for key, name in names.items()}
        for names in spec["directions"]
    ]
    options = {"activation_fn": activation}
    if gates["cell"] != "rnn":
        options["gate_fn"] = activation_named(gates["gate_activation"])
    return Layer(spec, INTERFACES[spec["api"]](spec, options, getattr(jnp, dtype)), weights, gates["cell"] == "lstm")


class Layer:
    """One driven cell, or two whose outputs are merged, and each direction by itself, which runs forward.

    `whole` takes x (b, t, I) and the flat states of all directions; it gives their last ones, y, and the outputs of
    each direction.
    """

    def __init__(self, spec: Any, api: Any, weights: Any, lstm: bool) -> None:
        self.merge = spec["merge"]
        self.reverse, self.turned = spec["reverse"], spec["keep_order"]
        self.api, self.weights = api, weights
        self.sizes = (spec["hidden_size"],) * (2 if lstm else 1)
        if len(weights) == 1:
            self.called = api.one(weights[0], reverse=self.reverse, keep_order=self.turned)
        else:
            merge = MERGE[self.merge]
            self.called = api.both(weights, lambda a, b: (merge(a, b), a, b))

    def whole(self, x: Any, states: Any, lengths: Any) -> Any:
        width = len(self.sizes)
        if len(self.weights) == 1:
            carry, y = self.called(x, self.carry(states), lengths)
            return self.states(carry), y, [y]
        carries, (y, *parts) = self.called(x, (self.carry(states[:width]), self.carry(states[width:])), lengths)
        return [state for carry in carries for state in self.states(carry)], y, parts

    def carry(self, states: Any) -> Any:
        """[h] or [h, c] as the cell takes it: Flax's LSTM has (c, h), Equinox's (h, c)."""
        if len(states) == 1:
            return states[0]
        return tuple(states[::-1] if self.api.cell_first else states)

    def states(self, carry: Any) -> Any:
        if len(self.sizes) == 1:
            return [carry]
        return list(carry[::-1] if self.api.cell_first else carry)

    @property
    def ways(self) -> Any:
        """[(reverse, function of x and a carry)] of each direction."""
        backward = [self.reverse] if len(self.weights) == 1 else [False, True]
        return [(way, self.api.one(each)) for way, each in zip(backward, self.weights)]


class Model:
    """A stack of layers."""

    def __init__(self, layers: Any, dtype: Any) -> None:
        self.made, self.dtype = layers, getattr(jnp, dtype)
        self.state_sizes = [layer.sizes for layer in layers for _ in layer.weights]
        self.backward = any(layer.reverse or len(layer.weights) == 2 for layer in layers)

    def run(self, x: Any, states: Any, lengths: Any = None) -> Any:
        x, finals, shown = jnp.asarray(x, self.dtype), [], []
        states = [jnp.asarray(state, self.dtype) for state in states]
        for layer in self.made:
            count = len(layer.weights) * len(layer.sizes)
            last, x, parts = layer.whole(x, states[:count], lengths)
            states = states[count:]
            finals += last
            shown += parts
        return [as_array(a) for a in ([x, *shown] if len(shown) > 1 else [x])], [as_array(state) for state in finals]

    def run_padded(self, x: Any, states: Any, lengths: Any) -> Any:
        outputs, states = self.run(x, states, lengths)
        last = self.made[-1]
        if last.reverse and not last.turned and not last.api.padding_first:
            outputs = [shifted(output, lengths) for output in outputs]
        return outputs, states

    def dense(self, y: Any, kernel: Any, bias: Any, activation: str) -> Any:
        y, kernel = (jnp.asarray(array, self.dtype) for array in (y, kernel))
        z = jnp.dot(y, kernel, precision=jax.lax.Precision.HIGHEST)
        z = z if bias is None else z + jnp.asarray(bias, self.dtype)
        return as_array(activation_named(activation)(z))

    @property
    def layers(self) -> Any:
        """Each direction by itself, for long runs with a backward direction."""
        return [
            (layer.merge, layer.turned, [(reverse, self.arrays(layer, run)) for reverse, run in layer.ways])
            for layer in self.made
        ]

    def arrays(self, layer: Any, run: Any) -> Any:
        def call(x: Any, states: Any) -> Any:
            carry = layer.carry([jnp.asarray(state, self.dtype) for state in states])
            carry, y = run(jnp.asarray(x, self.dtype), carry)
            return as_array(y), [as_array(state) for state in layer.states(carry)]

        return call


def shifted(y: Any, lengths: Any) -> Any:
    """Outputs (b, t, F) in the order of processing with their padding first, as others have it, which Flax has last."""
    return np.stack([np.roll(each, y.shape[1] - length, axis=0) for each, length in zip(y, lengths)])


def as_array(values: Any) -> Any:
    """As NumPy knows it: bfloat16 as float32."""
    return np.asarray(values.astype(jnp.float32) if values.dtype == jnp.bfloat16 else values)
