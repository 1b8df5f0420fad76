"""Small random networks in canonical form, and what they compute, for tests of the core."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from rnnverify import reference
from rnnverify.canonical import GATES, Array, CellKind, Direction, Gating, Layer, Merge, Network
from rnnverify.trace import FROM_H0, ZERO, Batch, Run, Trace

MERGES: tuple[Merge, ...] = ("concat", "sum", "mul", "ave")


def direction(rng: np.random.Generator, I: int, H: int, *, reverse: bool = False, dtype: str = "float32") -> Direction:
    def some(*shape: int) -> Array:
        return rng.normal(0, 0.5, (1, *shape)).astype(dtype)

    return Direction(some(I, H), some(H, H), some(H), some(H), reverse)


def gates(
    rng: np.random.Generator,
    cell: CellKind,
    I: int,
    H: int,
    *,
    P: int = 0,
    peepholes: bool = False,
    reverse: bool = False,
    dtype: str = "float32",
) -> Direction:
    """A direction of a gated cell; projected to P where that is not 0."""

    def some(*shape: int) -> Array:
        return rng.normal(0, 0.5, shape).astype(dtype)

    G = len(GATES[cell])
    return Direction(
        some(G, I, H),
        some(G, P or H, H),
        some(G, H),
        some(G, H),
        reverse,
        peephole=some(3, H) if peepholes else None,
        projection=some(H, P) if P else None,
    )


def gated(
    cell: CellKind, I: int = 3, H: int = 4, *, seed: int = 0, P: int = 0, peepholes: bool = False, **gating: Any
) -> Network:
    """One layer of a gated cell in one direction; `gating` as `Gating` has it."""
    one = gates(np.random.default_rng(seed), cell, I, H, P=P, peepholes=peepholes)
    return Network((Layer((one,), cell=cell, gating=Gating(**gating)),))


def mixed(*, seed: int = 0) -> Network:
    """A bidirectional LSTM, a GRU that runs backward and a vanilla layer, on top of each other."""
    rng = np.random.default_rng(seed)
    below = Layer((gates(rng, "lstm", 3, 4), gates(rng, "lstm", 3, 4, reverse=True)), cell="lstm")
    return Network(
        (
            below,
            Layer((gates(rng, "gru", 8, 5, reverse=True),), cell="gru"),
            Layer((direction(rng, 5, 3),)),
        )
    )


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
    h0, c0 = (tuple(rng.normal(size=(B, n)).astype(np.float32) for n in sizes) for sizes in network.state_sizes())
    return Batch(ZERO, x), Batch(FROM_H0, x, h0, c0 or None)


def computed(network: Network, given: Sequence[Batch], dtype: str = "float32") -> Trace:
    """What a correct implementation that computes in `dtype` gives, to the last rounding."""

    def rounded(run: Run) -> Run:
        h_n, states, c_n = (tuple(s.astype(dtype) for s in each) for each in (run.h_n, run.states, run.c_n))
        gated_layers = any(layer.cell != "rnn" for layer in network.layers)
        return Run(run.batch, run.y.astype(dtype), h_n, states if gated_layers else (), c_n)

    return Trace({name: rounded(run) for name, run in reference.run(network, given).runs.items()})


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
