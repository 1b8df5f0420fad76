"""Networks and sequences of every kind that rounding depends on, for tests of the budget."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from networks import MERGES, direction

from rnnverify.canonical import Array, Layer, Network
from rnnverify.rounding import Budget, check
from rnnverify.trace import ZERO, Batch, Trace

INPUTS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "large": lambda rng, shape: 1e4 * rng.normal(size=shape),
    "small": lambda rng, shape: 1e-6 * rng.normal(size=shape),
    "denormal": lambda rng, shape: 1e-41 * rng.normal(size=shape),
    "constant": lambda _, shape: np.full(shape, 0.7),
    "zero": lambda _, shape: np.zeros(shape),
    "sparse": lambda rng, shape: rng.normal(size=shape) * (rng.uniform(size=shape) < 0.1),
}


def budget(network: Network, trace: Trace, other: Network | None = None) -> Budget:
    """Against the rounding of the dtype that the states are in."""
    runs = list(trace.runs.values())
    found = check(network, runs, runs[0].y.dtype.name, other)
    assert found is not None
    return found


def scaled(network: Network, kernel: float, radius: float, bias: float) -> Network:
    """`network` with its kernels and biases scaled, and recurrent kernels of about this spectral radius."""

    def directions(layer: Layer) -> Layer:
        root = np.float32(radius / (0.5 * layer.hidden_size**0.5))
        made = [
            replace(
                d,
                kernel=d.kernel * np.float32(kernel),
                recurrent_kernel=d.recurrent_kernel * root,
                bias_input=d.bias_input * np.float32(bias),
                bias_recurrent=d.bias_recurrent * np.float32(bias),
            )
            for d in layer.directions
        ]
        return replace(layer, directions=tuple(made))

    return Network(tuple(directions(layer) for layer in network.layers))


@st.composite
def scaled_networks(draw: st.DrawFn, activations: tuple[str, ...]) -> Network:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers: list[Layer] = []
    I = draw(st.integers(1, 9))
    for _ in range(draw(st.integers(1, 3))):
        H = draw(st.sampled_from([1, 2, 3, 7, 16, 33]))
        both, reverse = draw(st.booleans()), draw(st.booleans())
        pair = (direction(rng, I, H), direction(rng, I, H, reverse=True))
        layer = Layer(
            pair if both else (pair[reverse],),
            draw(st.sampled_from(activations)),
            merge=draw(st.sampled_from(MERGES)) if both else "concat",
            time_restored=both or not reverse or draw(st.booleans()),
        )
        layers.append(layer)
        I = layer.output_size
    kernel, radius, bias = (draw(st.sampled_from(sizes)) for sizes in ((1e-3, 1.0, 30.0), (0.1, 1.0, 3.0), (0.0, 1.0)))
    return scaled(Network(tuple(layers)), kernel, radius, bias)


def sequences(network: Network, kind: str, seed: int, B: int, T: int, from_h0: bool) -> Batch:
    rng = np.random.default_rng(seed)
    x = INPUTS[kind](rng, (B, T, network.input_size)).astype(np.float32)
    h0 = tuple(rng.uniform(-1, 1, (B, d.hidden_size)).astype(np.float32) for _, _, d in network.directions())
    return Batch(ZERO, x, h0 if from_h0 else None)


def cases(*activations: str) -> st.SearchStrategy[tuple[Network, Batch]]:
    """A network, and sequences for it."""
    return scaled_networks(activations).flatmap(
        lambda network: st.tuples(
            st.just(network),
            st.builds(
                sequences,
                st.just(network),
                st.sampled_from(list(INPUTS)),
                st.integers(0, 2**32 - 1),
                st.integers(1, 3),
                st.integers(1, 12),
                st.booleans(),
            ),
        )
    )
