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
WEIGHTS = ("normal", "sorted", "heavy-tailed", "trained")
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
    if kind == "trained" and (activation != "tanh" or H > 64):
        kind = "normal"
    scale = float(rng.choice([0.0, 0.1, 10.0]))  # of the biases
    layers = int(rng.choice([1, 2])) if H <= 256 else 1
    both = [_layer(rng, kind, activation, H if k else I, H, radius, scale) for k in range(layers)]
    network, ported = (Network(tuple(each)) for each in zip(*both, strict=True))
    words = f"hidden {H}, layers {layers}, steps {T}, inputs {I}, {activation}, radius {radius}, {kind} weights"
    return Case(H, words, network, ported, Batch(ZERO, sequences(rng, T, I)))


def _layer(
    rng: np.random.Generator, kind: str, activation: str, I: int, H: int, radius: float, scale: float
) -> tuple[Layer, Layer]:
    """A layer with two biases, and the same with one."""
    if kind == "trained":
        W, U, b_ih = trained(rng, I, H)
        b_hh = np.zeros(H)
    else:
        W = weights(rng, kind, (I, H)) * I**-0.5
        U = weights(rng, kind, (H, H))
        U *= radius / max(spectral_radius(U), 1e-9)
        b_ih, b_hh = rng.uniform(-1, 1, (2, H)) * scale
    two = of(activation, W, U, b_ih, b_hh)
    d = two.layers[0].directions[0]
    one = of(activation, W, U, d.bias_input[0] + d.bias_recurrent[0], np.zeros(H))
    return two.layers[0], one.layers[0]


def trained(rng: np.random.Generator, I: int, H: int) -> tuple[Array, Array, Array]:
    """Weights trained to keep the sign of the first input, by some descent of the gradient: W (I, H), U (H, H), b."""
    W, U, b = rng.normal(0, I**-0.5, (I, H)), rng.normal(0, 0.9 * H**-0.5, (H, H)), np.zeros(H)
    readout = rng.normal(0, H**-0.5, H)
    for _ in range(60):
        x = rng.normal(size=(16, 12, I))
        states = [np.zeros((16, H))]
        for t in range(12):
            states.append(np.tanh(x[:, t] @ W + states[-1] @ U + b))
        error = np.tanh(states[-1] @ readout) - np.sign(x[:, 0, 0])
        back = error[:, None] * readout / 16
        for t in reversed(range(12)):
            back = back * (1 - states[t + 1] ** 2)
            dW, dU, db = x[:, t].T @ back, states[t].T @ back, back.sum(axis=0)
            back = back @ U.T
            W, U, b = W - 0.3 * dW, U - 0.3 * dU, b - 0.3 * db
    return W, U, b


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
    torch_tensors: dict[str, Array] = {}
    keras_tensors: dict[str, Array] = {}
    cell_tensors: dict[str, Array] = {}
    keras_layers, cell_layers = [], []
    for k, (two, one) in enumerate(zip(case.network.layers, case.ported.layers, strict=True)):
        W, U, b_ih, b_hh = (array[0] for _, array in two.directions[0].tensors())
        I, H = W.shape
        bias = one.directions[0].bias_input[0]
        torch_tensors |= {f"weight_ih_l{k}": W.T.copy(), f"weight_hh_l{k}": U.T.copy()}
        torch_tensors |= {f"bias_ih_l{k}": b_ih, f"bias_hh_l{k}": b_hh}
        keras_tensors |= {f"kernel {k}": W, f"recurrent {k}": U, f"bias {k}": bias}
        cell_tensors |= {f"kernel {k}": np.concatenate([W, U]), f"bias {k}": bias}
        names = [f"kernel {k}", f"recurrent {k}", f"bias {k}"]
        simple = {"name": f"rnn_{k}", "path": [f"rnn_{k}"], "kind": "SimpleRNN"}
        way = {"go_backwards": False, "bidirectional": False, "merge_mode": None}
        keras_layers.append(
            {**simple, **way, "cells": [{"units": H, "use_bias": True, "cudnn": False}], "tensors": [[names]]}
        )
        cell = {"kernel": f"kernel {k}", "bias": f"bias {k}"}
        cell_layers.append({"input_size": I, "hidden_size": H, "directions": [cell]})
    first = case.network.layers[0]
    sizes = {"input_size": first.input_size, "hidden_size": first.hidden_size, "num_layers": len(keras_layers)}
    module = {"module": "RNN", **sizes, "bidirectional": False, "bias": True, "proj_size": 0}
    torch_layer = {**module, "root": [], "prefix": "", "keys": {name: name for name in torch_tensors}}

    def reading(network: Network, framework: Any, layers: list[Any], tensors: Mapping[str, Array]) -> Reading:
        recipe = Recipe(framework, tuple(layers), tensors, loadable=False, why_not="made in memory")
        return Reading(network, recipe, "rnn", True, {})

    return {
        "torch": reading(case.network, "torch", [torch_layer], torch_tensors),
        "keras": reading(case.ported, "keras", keras_layers, keras_tensors),
        "tensorflow": reading(case.ported, "tensorflow", cell_layers, cell_tensors),
    }
