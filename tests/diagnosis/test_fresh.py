"""Weights as a framework initialises them are told from trained ones, and from each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rnnverify.canonical import GATE_NAMES, Array, CellKind
from rnnverify.diagnosis.fresh import Key, initialised_by

I, H = 9, 12
Tensors = dict[Key, Array]


def tensors(cell: CellKind, kernels: list[Array], recurrent: list[Array], biases: list[Array]) -> Tensors:
    found: Tensors = {}
    for gate, W, U, b in zip(GATE_NAMES[cell], kernels, recurrent, biases, strict=True):
        found |= {("layer 0", gate, "kernel"): W, ("layer 0", gate, "recurrent kernel"): U}
        found["layer 0", gate, "bias"] = b[None]
    return found


def uniform(rng: np.random.Generator, bound: float, *shape: int) -> Array:
    return rng.uniform(-bound, bound, shape)


def orthogonal(rng: np.random.Generator, rows: int, columns: int) -> Array:
    return np.asarray(np.linalg.qr(rng.normal(size=(columns, rows)))[0].T)


def constants(cell: CellKind, ones: tuple[int, ...]) -> list[Array]:
    return [np.full(H, float(g in ones)) for g in range(len(GATE_NAMES[cell]))]


def keras(rng: np.random.Generator, cell: CellKind) -> Tensors:
    G = len(GATE_NAMES[cell])
    kernels = np.split(uniform(rng, (6 / (I + G * H)) ** 0.5, I, G * H), G, axis=1)
    return tensors(cell, kernels, np.split(orthogonal(rng, H, G * H), G, axis=1), constants(cell, (1,) * (G == 4)))


def flax(rng: np.random.Generator, cell: CellKind) -> Tensors:
    G = len(GATE_NAMES[cell])
    kernels = [rng.normal(0, I**-0.5, (I, H)) for _ in range(G)]
    return tensors(cell, kernels, [orthogonal(rng, H, H) for _ in range(G)], constants(cell, ()))


def torch(rng: np.random.Generator, cell: CellKind) -> Tensors:
    G, k = len(GATE_NAMES[cell]), H**-0.5
    biases = [uniform(rng, k, H) + uniform(rng, k, H) for _ in range(G)]
    return tensors(cell, [uniform(rng, k, I, H) for _ in range(G)], [uniform(rng, k, H, H) for _ in range(G)], biases)


def tensorflow(rng: np.random.Generator, cell: CellKind) -> Tensors:
    """Over [x, h]: all gates of an LSTM in one kernel, of a GRU the two gates in one, the candidate in another."""
    wide = [4] if cell == "lstm" else [2, 1]
    whole = [uniform(rng, (6 / (I + H + n * H)) ** 0.5, I + H, n * H) for n in wide]
    gates = [block for W, n in zip(whole, wide, strict=True) for block in np.split(W, n, axis=1)]
    ones = (1,) if cell == "lstm" else (0, 1)  # the forget bias that is added at run time; the gates of a GRU
    return tensors(cell, [W[:I] for W in gates], [W[I:] for W in gates], constants(cell, ones))


INITIALISERS: dict[str, Callable[[np.random.Generator, CellKind], Tensors]] = {
    "Keras": keras,
    "Flax": flax,
    "PyTorch or Equinox": torch,
    "TensorFlow 1": tensorflow,
}


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("name", INITIALISERS)
@pytest.mark.parametrize("seed", range(5))
def test_fresh_weights_are_told(name: str, cell: CellKind, seed: int) -> None:
    assert initialised_by(INITIALISERS[name](np.random.default_rng(seed), cell)) == name


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("name", INITIALISERS)
def test_a_step_of_training_is_enough_to_be_none(name: str, cell: CellKind) -> None:
    rng = np.random.default_rng(1)
    fresh = INITIALISERS[name](rng, cell)
    assert not initialised_by({key: w + 0.05 * rng.normal(size=w.shape) for key, w in fresh.items()})


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_normal_weights_are_none(cell: CellKind) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drawn = {key: rng.normal(0, np.std(w) or 0.1, w.shape) for key, w in torch(rng, cell).items()}
        assert not initialised_by(drawn)
