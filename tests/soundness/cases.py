"""Random networks and inputs of the soundness experiment, and the same weights as each framework takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.trace import ZERO, Batch

INPUTS = ("normal", "large", "constant", "zero", "sparse")  # one sequence of each
WEIGHTS = ("normal", "sorted", "heavy-tailed")
RADII = (0.1, 0.5, 0.9, 1.0, 1.5, 3.0)


@dataclass(frozen=True)
class Size:
    """How much is tried: hidden size to number of networks, and how many steps they may run."""

    networks: Mapping[int, int]
    steps: tuple[int, ...]
    detection: tuple[int, ...]  # hidden sizes
    tries: int


SIZES = {
    "small": Size({1: 20, 8: 20, 64: 20, 256: 16}, (1, 30, 200), (64, 256), 3),
    "medium": Size({1: 40, 3: 40, 16: 40, 64: 40, 256: 30, 1024: 10}, (1, 10, 100, 500, 2000), (64, 256, 1024), 5),
    "large": Size({1: 150, 3: 150, 16: 150, 64: 150, 256: 100, 1024: 40}, (1, 10, 100, 500, 2000), (64, 256, 1024), 20),
}


@dataclass(frozen=True)
class Case:
    """One network and its sequences."""

    hidden: int
    words: str
    network: Network  # with two biases
    ported: Network  # the same, its biases added into one float32
    batch: Batch  # x (len(INPUTS), T, I)


def cases(size: Size, seed: int = 0) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    for hidden, count in size.networks.items():
        for _ in range(count):
            yield _case(rng, hidden, size.steps)


def _case(rng: np.random.Generator, H: int, choices: tuple[int, ...]) -> Case:
    activation = str(rng.choice(["tanh", "relu"], p=[0.7, 0.3]))
    radius, T, I = float(rng.choice(RADII)), int(rng.choice(choices)), int(rng.choice([1, 5, 40]))
    if activation == "relu" and radius >= 1:
        T = min(T, 30)  # beyond, the states overflow
    kind = str(rng.choice(WEIGHTS))
    W = weights(rng, kind, (I, H)) * I**-0.5
    U = weights(rng, kind, (H, H))
    U *= radius / max(spectral_radius(U), 1e-9)
    b_ih, b_hh = rng.uniform(-1, 1, (2, H)) * rng.choice([0.0, 0.1, 10.0])
    network = of(activation, W, U, b_ih, b_hh)
    d = network.layers[0].directions[0]
    ported = of(activation, W, U, d.bias_input[0] + d.bias_recurrent[0], np.zeros(H))
    words = f"hidden {H}, steps {T}, inputs {I}, {activation}, spectral radius {radius}, {kind} weights"
    return Case(H, words, network, ported, Batch(ZERO, sequences(rng, T, I)))


def of(activation: str, W: Array, U: Array, b_ih: Array, b_hh: Array) -> Network:
    """One layer in float32, from W (I, H), U (H, H) and two biases (H,)."""
    kernel, recurrent, first, second = (np.asarray(array, np.float32)[None] for array in (W, U, b_ih, b_hh))
    return Network((Layer((Direction(kernel, recurrent, first, second),), activation),))


def weights(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> Array:
    if kind == "heavy-tailed":
        return rng.standard_t(2, shape)
    drawn = rng.normal(size=shape)
    return np.sort(drawn, axis=0) if kind == "sorted" else drawn


def spectral_radius(U: Array) -> float:
    """By Gelfand's formula, from the 64th power."""
    logarithm = 0.0
    for k in range(6):
        norm = float(np.linalg.norm(U))
        if norm == 0:
            return 0.0
        logarithm += np.log(norm) / 2**k
        U = (U / norm) @ (U / norm)
    return float(np.exp(logarithm + np.log(max(float(np.linalg.norm(U)), 1e-300)) / 64))


def sequences(rng: np.random.Generator, T: int, I: int) -> Array:
    """x (len(INPUTS), T, I) float32."""
    made = {
        "normal": rng.normal(size=(T, I)),
        "large": 1e3 * rng.normal(size=(T, I)),
        "constant": np.full((T, I), rng.normal()),
        "zero": np.zeros((T, I)),
        "sparse": rng.normal(size=(T, I)) * (rng.uniform(size=(T, I)) < 0.05),
    }
    return np.stack([made[kind] for kind in INPUTS]).astype(np.float32)


def readings(case: Case) -> dict[str, Reading]:
    """What the adapters would make of a file of each framework; PyTorch keeps both biases."""
    two, one = (network.layers[0].directions[0] for network in (case.network, case.ported))
    W, U, b_ih, b_hh = (array[0] for _, array in two.tensors())
    I, H = W.shape
    torch_tensors = {"weight_ih_l0": W.T.copy(), "weight_hh_l0": U.T.copy(), "bias_ih_l0": b_ih, "bias_hh_l0": b_hh}
    keras_tensors = {"kernel": W, "recurrent_kernel": U, "bias": one.bias_input[0]}
    cell_tensors = {"kernel": np.concatenate([W, U]), "bias": one.bias_input[0]}
    module = {"module": "RNN", "input_size": I, "hidden_size": H, "num_layers": 1, "bidirectional": False, "bias": True}
    torch_layer = {**module, "root": [], "prefix": "", "keys": {name: name for name in torch_tensors}}
    simple = {"name": "rnn", "path": ["rnn"], "kind": "SimpleRNN", "cells": [{"units": H, "use_bias": True}]}
    way = {"go_backwards": False, "bidirectional": False, "merge_mode": None}
    keras_layer = {**simple, **way, "tensors": [list(keras_tensors)]}
    cell = {"input_size": I, "hidden_size": H, "directions": [{"kernel": "kernel", "bias": "bias"}]}

    def reading(network: Network, recipe: Recipe) -> Reading:
        return Reading(network, recipe, "rnn", True, {})

    def recipe(framework: Any, layer: Mapping[str, object], tensors: Mapping[str, Array]) -> Recipe:
        return Recipe(framework, (layer,), tensors, loadable=False, why_not="made in memory")

    return {
        "torch": reading(case.network, recipe("torch", torch_layer, torch_tensors)),
        "keras": reading(case.ported, recipe("keras", keras_layer, keras_tensors)),
        "tensorflow": reading(case.ported, recipe("tensorflow", cell, cell_tensors)),
    }
