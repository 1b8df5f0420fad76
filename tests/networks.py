"""Small random networks in canonical form, and what they compute, for tests of the core."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from rnnverify import reference
from rnnverify.canonical import Array, Direction, Layer, Merge, Network
from rnnverify.trace import FROM_H0, ZERO, Batch, Run, Trace

MERGES: tuple[Merge, ...] = ("concat", "sum", "mul", "ave")


def direction(rng: np.random.Generator, I: int, H: int, *, reverse: bool = False, dtype: str = "float32") -> Direction:
    def some(*shape: int) -> Array:
        return rng.normal(0, 0.5, (1, *shape)).astype(dtype)

    return Direction(some(I, H), some(H, H), some(H), some(H), reverse)


def single(I: int = 3, H: int = 4, *, seed: int = 0, activation: str = "tanh", reverse: bool = False) -> Network:
    """One layer in one direction."""
    rng = np.random.default_rng(seed)
    return Network((Layer((direction(rng, I, H, reverse=reverse),), activation),))


def bidirectional(I: int = 3, H: int = 4, *, seed: int = 0, merge: Merge = "concat") -> Network:
    rng = np.random.default_rng(seed)
    return Network((Layer((direction(rng, I, H), direction(rng, I, H, reverse=True)), merge=merge),))


def stacked(I: int, widths: Sequence[int], *, seed: int = 0) -> Network:
    rng = np.random.default_rng(seed)
    sizes = zip((I, *widths), widths, strict=False)
    return Network(tuple(Layer((direction(rng, below, H),)) for below, H in sizes))


def edited(network: Network, **fields: Any) -> Network:
    """`network` with tensors or facts of its first direction replaced."""
    layer = network.layers[0]
    first = replace(layer.directions[0], **fields)
    changed = replace(layer, directions=(first, *layer.directions[1:]))
    return replace(network, layers=(changed, *network.layers[1:]))


def batches(network: Network, B: int = 2, T: int = 5, *, seed: int = 0) -> tuple[Batch, Batch]:
    """float32 sequences from zero and from random initial states."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(B, T, network.input_size)).astype(np.float32)
    h0 = tuple(rng.normal(size=(B, d.hidden_size)).astype(np.float32) for _, _, d in network.directions())
    return Batch(ZERO, x), Batch(FROM_H0, x, h0)


def computed(network: Network, given: Sequence[Batch], dtype: str = "float32") -> Trace:
    """What a correct implementation that computes in `dtype` gives, to the last rounding."""
    runs = reference.run(network, given).runs
    return Trace(
        {name: Run(r.batch, r.y.astype(dtype), tuple(h.astype(dtype) for h in r.h_n)) for name, r in runs.items()}
    )


@st.composite
def networks(draw: st.DrawFn, activations: Sequence[str] = ("tanh", "relu", "linear", "sigmoid")) -> Network:
    """Stacks of up to three layers, forward, backward, backward without restored time, or merged both ways."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers: list[Layer] = []
    I = draw(st.integers(1, 4))
    for _ in range(draw(st.integers(1, 3))):
        H = draw(st.integers(1, 4))
        both, reverse = draw(st.booleans()), draw(st.booleans())
        directions = (direction(rng, I, H), direction(rng, I, H, reverse=True))
        layers.append(
            Layer(
                directions if both else (directions[reverse],),
                draw(st.sampled_from(activations)),
                merge=draw(st.sampled_from(MERGES)) if both else "concat",
                time_restored=both or not reverse or draw(st.booleans()),
            )
        )
        I = layers[-1].output_size
    return Network(tuple(layers))
