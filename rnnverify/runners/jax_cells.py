"""How linen, nnx and Equinox make a cell, and drive it over time: one class for each, offering the same.

    one(weights, reverse, keep_order) -> f         f(x, carry, lengths) -> (carry, y)
    both(weights of each direction, merge) -> f    f(x, carries, lengths) -> (carries, merge(forward, backward))
    cell_first                                     whether the carry of an LSTM is (c, h)
    padding_first                                  whether outputs that are not turned back have their padding first

x and y are (b, t, features); lengths (b,), or None where all sequences have t steps. `reverse` runs
from the last step to the first, and `keep_order` turns the outputs back.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

MERGE: Any = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
}


class Linen:
    """The parameters stand beside the module."""

    cell_first, padding_first = True, False

    def __init__(self, spec: Any, options: Any, dtype: Any) -> None:
        from flax import linen

        self.linen = linen
        self.make = getattr(linen, spec["cell"])
        self.options = dict(options, features=spec["hidden_size"], dtype=dtype, param_dtype=dtype)

    def one(self, weights: Any, **options: Any) -> Any:
        return self.ready(self.linen.RNN(self.make(**self.options), **options), {"cell": nested(weights)})

    def both(self, weights: Any, merge: Any) -> Any:
        forward, backward = [self.linen.RNN(self.make(**self.options)) for _ in weights]
        tree = {name: {"cell": nested(each)} for name, each in zip(("forward_rnn", "backward_rnn"), weights)}
        return self.ready(self.linen.Bidirectional(forward, backward, merge_fn=merge), tree)

    def ready(self, module: Any, parameters: Any) -> Any:
        def call(tree: Any, x: Any, carry: Any, lengths: Any) -> Any:
            return module.apply(tree, x, initial_carry=carry, seq_lengths=lengths, return_carry=True)

        jitted = jax.jit(call)
        return lambda x, carry, lengths=None: jitted({"params": parameters}, x, carry, lengths)


def nested(weights: Any) -> Any:
    """{"i/kernel": array} as {"i": {"kernel": array}}."""
    tree: Any = {}
    for key, array in weights.items():
        module, _, kind = key.partition("/")
        tree.setdefault(module, {})[kind] = array
    return tree


class Nnx:
    """The parameters are the module's own."""

    cell_first, padding_first = True, False

    def __init__(self, spec: Any, options: Any, dtype: Any) -> None:
        from flax import nnx

        self.nnx = nnx
        self.make = getattr(nnx, spec["cell"])
        zeros = nnx.initializers.zeros  # an orthogonal kernel, which would be overwritten, is not made of bfloat16
        self.options = dict(options, dtype=dtype, param_dtype=dtype, recurrent_kernel_init=zeros)
        self.sizes = spec["input_size"], spec["hidden_size"]

    def cell(self, weights: Any) -> Any:
        cell = self.make(*self.sizes, rngs=self.nnx.Rngs(0), **self.options)
        for key, array in weights.items():
            module, _, kind = key.partition("/")
            setattr(getattr(cell, module), kind, self.nnx.Param(array))
        return cell

    def one(self, weights: Any, **options: Any) -> Any:
        return self.ready(self.nnx.RNN(self.cell(weights), **options))

    def both(self, weights: Any, merge: Any) -> Any:
        forward, backward = [self.nnx.RNN(self.cell(each)) for each in weights]
        return self.ready(self.nnx.Bidirectional(forward, backward, merge_fn=merge))

    def ready(self, module: Any) -> Any:
        def call(module: Any, x: Any, carry: Any, lengths: Any) -> Any:
            return module(x, initial_carry=carry, seq_lengths=lengths, return_carry=True)

        jitted = self.nnx.jit(call)
        return lambda x, carry, lengths=None: jitted(module, x, carry, lengths)


class Equinox:
    """A cell takes one sample at one step; the scan over time and the vmap over samples are the user's own."""

    cell_first, padding_first = False, True

    def __init__(self, spec: Any, options: Any, dtype: Any) -> None:  # noqa: ARG002 - its activations are fixed
        import equinox

        self.equinox = equinox
        self.make = getattr(equinox.nn, spec["cell"])
        self.sizes, self.dtype = (spec["input_size"], spec["hidden_size"]), dtype

    def cell(self, weights: Any) -> Any:
        cell = self.make(*self.sizes, use_bias="bias" in weights, dtype=self.dtype, key=jax.random.PRNGKey(0))
        fields = list(weights)
        return self.equinox.tree_at(lambda c: [getattr(c, f) for f in fields], cell, [weights[f] for f in fields])

    def one(self, weights: Any, reverse: bool = False, keep_order: bool = False) -> Any:
        call = jax.jit(scanned, static_argnums=(4, 5))
        cell = self.cell(weights)
        return lambda x, carry, lengths=None: call(cell, x, carry, lengths, reverse, keep_order)

    def both(self, weights: Any, merge: Any) -> Any:
        forward, backward = self.one(weights[0]), self.one(weights[1], reverse=True, keep_order=True)

        def call(x: Any, carries: Any, lengths: Any = None) -> Any:
            ahead, a = forward(x, carries[0], lengths)
            back, b = backward(x, carries[1], lengths)
            return (ahead, back), merge(a, b)

        return call


def scanned(cell: Any, x: Any, carry: Any, lengths: Any, reverse: bool, keep_order: bool) -> Any:
    """Where a sequence is over, or backwards has not begun, the carry stays as it is."""
    T = x.shape[1]
    inside = jnp.arange(T)[:, None] < (T if lengths is None else lengths[None])  # (t, b)

    def step(carry: Any, now: Any) -> Any:
        x, counts = now
        after = jax.vmap(cell)(x, carry)
        if lengths is not None:
            after = jax.tree.map(lambda new, old: jnp.where(counts[:, None], new, old), after, carry)
        return after, after[0] if isinstance(after, tuple) else after

    steps = jnp.moveaxis(x, 1, 0)
    carry, y = jax.lax.scan(step, carry, (steps[::-1], inside[::-1]) if reverse else (steps, inside))
    y = jnp.moveaxis(y, 0, 1)
    return carry, y[:, ::-1] if reverse and keep_order else y


INTERFACES = {"linen": Linen, "nnx": Nnx, "equinox": Equinox}
