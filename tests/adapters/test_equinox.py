"""Equinox cells, told by the shapes of arrays without names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from flax_trees import contents
from test_flax import lstm, sigmoid

from rnnverify import reference
from rnnverify.adapters.equinox.adapter import read
from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, RnnverifyError, SelectorError
from rnnverify.trace import ZERO, Batch

RNG = np.random.default_rng(9)
X = RNG.normal(size=(2, 4, 3))


def cell(G: int, I: int = 3, H: int = 2, bias: bool = True) -> list[Array]:
    shapes: list[tuple[int, ...]] = [(G * H, I), (G * H, H)]
    shapes += ([(G * H,)] + [(H,)] * (G == 3)) * bias
    return [RNG.normal(0, 0.5, shape).astype(np.float32) for shape in shapes]


def file(arrays: Sequence[Array]) -> Contents:
    return contents({f"leaf {k}": array for k, array in enumerate(arrays)}, "equinox")


@pytest.mark.parametrize("G", [3, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_both_cells_compute_what_equinox_says(G: int, bias: bool) -> None:
    arrays = cell(G, bias=bias)
    reading = read(file(arrays), None)
    assert reading.activation_stated and len(reading.roles) == len(arrays)
    W, U, *biases = (array.astype(np.float64) for array in arrays)
    b, b_n = biases[0] if bias else np.zeros(1), biases[1] if bias and G == 3 else 0.0
    run = reference.run(reading.network, (Batch(ZERO, X),)).runs[ZERO]
    h = c = np.zeros((2, 2))
    for t in range(X.shape[1]):
        if G == 3:
            inner, outer = np.split(X[:, t] @ W.T + b, 3, axis=1), np.split(h @ U.T, 3, axis=1)
            r, z = (sigmoid(inner[k] + outer[k]) for k in (0, 1))
            n = np.tanh(inner[2] + r * (outer[2] + b_n))
            h = n + z * (h - n)
        else:
            i, f, g, o = np.split(X[:, t] @ W.T + h @ U.T + b, 4, axis=1)
            h, c = lstm(i, f, g, o, c)
        assert np.abs(run.y[:, t] - h).max() < 1e-12


def test_that_it_is_a_cell_is_said() -> None:
    reading = read(file([np.ones(4), *cell(3), np.ones((5, 2))]), None)
    assert reading.assumptions == (
        "leaf 1, leaf 2, leaf 3, leaf 4 are a cell by their shapes: the file holds no names",
        "runs forward in time",
    )
    assert reading.roles["leaf 4"] == "layer 0 recurrent bias, gate n"
    assert reading.unused == dict.fromkeys(["leaf 0", "leaf 5"], "no weight of a recurrent cell")


def test_several_cells() -> None:
    arrays = [*cell(4), np.ones((2, 2)), *cell(3, I=2, H=5), *cell(3, I=5, H=4)]
    with pytest.raises(SelectorError, match=r"choose one: model#LSTMCell_0 .*model#GRUCell_0\+GRUCell_1"):
        read(file(arrays), None)
    reading = read(file(arrays), "LSTMCell_0+GRUCell_0+GRUCell_1")
    assert [layer.cell for layer in reading.network.layers] == ["lstm", "gru", "gru"]
    assert [layer.hidden_size for layer in read(file(arrays), "GRUCell_1").network.layers] == [4]


@pytest.mark.parametrize(
    ("arrays", "kind", "words"),
    [
        (
            [np.ones((6, 3)), np.ones((2, 6))],
            SelectorError,
            r"has no arrays of an Equinox GRUCell .*\(6, 3\), \(2, 6\)",
        ),
        ([np.ones((6, 3)), np.ones(6), np.ones((6, 2))], SelectorError, "has no arrays of an Equinox"),
        ([np.ones((0, 3)), np.ones((0, 0))], SelectorError, "has no arrays of an Equinox"),
        ([np.ones(3)], SelectorError, "give a trace of the model"),
        ([*cell(3)[:-1], np.full(2, np.inf)], FileError, "leaf 3 holds 2 of 2 numbers that are NaN or infinite"),
    ],
)
def test_what_is_no_cell_is_refused(arrays: list[Array], kind: type[RnnverifyError], words: str) -> None:
    with pytest.raises(kind, match=words):
        read(file(arrays), None)
