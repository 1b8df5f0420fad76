"""Flax cells: every array goes where Flax's own formula has it, and nothing unclear is guessed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from flax_trees import contents, linen, nnx, tree

from rnnverify import reference
from rnnverify.adapters.flax.adapter import read
from rnnverify.canonical import Array
from rnnverify.errors import FileError, RnnverifyError, SelectorError, UnsupportedError
from rnnverify.trace import ZERO, Batch

RNG = np.random.default_rng(5)
X = RNG.normal(size=(2, 4, 3))
Dense = Callable[[str, Array], Array]


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def dense_of(arrays: dict[str, Array]) -> Dense:
    """flax.linen.Dense under its name: x @ kernel, plus bias where it has one."""

    def dense(name: str, x: Array) -> Array:
        (kernel,) = (array for key, array in arrays.items() if key.endswith(f"/{name}/kernel"))
        bias = [array for key, array in arrays.items() if key.endswith(f"/{name}/bias")]
        return np.asarray(x @ kernel.astype(np.float64) + (bias[0] if bias else 0.0))

    return dense


def simple(d: Dense, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    return np.tanh(d("i", x) + d("h", h)), c


def simple_nnx(d: Dense, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    return np.tanh(d("dense_i", x) + d("dense_h", h)), c


def gru(d: Dense, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    r, z = sigmoid(d("ir", x) + d("hr", h)), sigmoid(d("iz", x) + d("hz", h))
    n = np.tanh(d("in", x) + r * d("hn", h))
    return (1 - z) * n + z * h, c


def gru_nnx(d: Dense, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    (ir, iz, i_n), (hr, hz, hn) = (np.split(d(name, v), 3, axis=-1) for name, v in (("dense_i", x), ("dense_h", h)))
    r, z = sigmoid(ir + hr), sigmoid(iz + hz)
    return (1 - z) * np.tanh(i_n + r * hn) + z * h, c


def lstm(i: Array, f: Array, g: Array, o: Array, c: Array) -> tuple[Array, Array]:
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def lstm_linen(d: Dense, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    i, f, g, o = (d(f"i{gate}", x) + d(f"h{gate}", h) for gate in "ifgo")
    return lstm(i, f, g, o, c)


def lstm_nnx(d: Dense, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    i, f, g, o = (d("if_" if gate == "f" else f"i{gate}", x) + d(f"h{gate}", h) for gate in "ifgo")
    return lstm(i, f, g, o, c)


def lstm_optimized(d: Dense, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    i, f, g, o = np.split(d("dense_i", x) + d("dense_h", h), 4, axis=-1)
    return lstm(i, f, g, o, c)


@pytest.mark.parametrize(
    ("arrays", "step", "kind"),
    [
        (linen("SimpleCell"), simple, "SimpleCell"),
        (linen("GRUCell"), gru, "GRUCell"),
        (linen("LSTMCell"), lstm_linen, "OptimizedLSTMCell"),
        (nnx("SimpleCell"), simple_nnx, "SimpleCell"),
        (nnx("GRUCell"), gru_nnx, "GRUCell"),
        (nnx("LSTMCell"), lstm_nnx, "LSTMCell"),
        (nnx("OptimizedLSTMCell"), lstm_optimized, "OptimizedLSTMCell"),
    ],
)
def test_every_cell_computes_what_flax_says(
    arrays: dict[str, Array],
    step: Callable[[Dense, Array, Array, Array], tuple[Array, Array]],
    kind: str,
) -> None:
    reading = read(contents(arrays), None)
    assert set(reading.roles) == set(arrays) and not reading.unused and reading.recipe.layers[0]["cell"] == kind
    assert not reading.activation_stated and reading.recipe.tensors.keys() == arrays.keys()
    run = reference.run(reading.network, (Batch(ZERO, X),)).runs[ZERO]
    h = c = np.zeros((2, 2))
    dense = dense_of(arrays)
    for t in range(X.shape[1]):
        h, c = step(dense, X[:, t], h, c)
        assert np.abs(run.y[:, t] - h).max() < 1e-12


def test_where_each_array_goes_is_told() -> None:
    roles = read(contents(linen("GRUCell")), None).roles
    assert roles["params/cell/iz/kernel"] == "layer 0 kernel, gate z"
    assert roles["params/cell/hn/bias"] == "layer 0 recurrent bias, gate n"
    roles = read(contents(nnx("OptimizedLSTMCell")), None).roles
    assert roles["cell/dense_h/bias"] == "layer 0 recurrent bias, gates i, f, g, o"


def test_what_the_file_leaves_open_is_said() -> None:
    assert read(contents(linen("SimpleCell")), None).assumptions == ("runs forward in time", "residual=False")
    gated = read(contents(nnx("GRUCell")), None)
    assert gated.assumptions == ("runs forward in time",) and gated.open == {"gate_activation"}
    assert not read(contents(linen("SimpleCell")), None).open
    both = linen("SimpleCell", scope="forward_rnn/cell") | linen("SimpleCell", scope="backward_rnn/cell")
    reading = read(contents(both), None)
    assert reading.assumptions == ("the outputs of both directions are merged by concat", "residual=False")
    assert [d.reverse for d in reading.network.layers[0].directions] == [False, True] and reading.part == ""


def test_other_layers_and_optimisers_are_no_part_of_it() -> None:
    arrays = linen("SimpleCell") | {
        "params/Dense_0/kernel": np.ones((2, 5), np.float32),
        "params/Dense_0/bias": np.ones(5, np.float32),
        "step": np.ones(()),
    }
    slots = {f"opt_state/0/mu/{name}": array for name, array in linen("SimpleCell").items()}
    reading = read(contents(arrays | slots), None)
    assert reading.around.words == ("Dense 'Dense_0', 2 -> 5",) and len(reading.unused) == 4
    assert not any("Dense_0" in words for words in reading.not_compared)
    assert len(reading.network.layers) == 1


def test_narrow_weights_are_noted() -> None:
    reading = read(contents(linen("SimpleCell"), dtype="bfloat16"), None)
    assert reading.notes == ("weights are stored as bfloat16 and read as the float32 of equal value",)


def without(arrays: dict[str, Array], name: str) -> dict[str, Array]:
    return {key: array for key, array in arrays.items() if key != name}


NAN = np.full((3, 2), np.nan, np.float32)


@pytest.mark.parametrize(
    ("arrays", "kind", "words"),
    [
        (without(linen("GRUCell"), "params/cell/hn/bias"), FileError, "the cell lacks hn/bias; flax.linen.GRUCell has"),
        (without(linen("LSTMCell"), "params/cell/if/kernel"), FileError, "lacks if/kernel; flax.linen.OptimizedLSTM"),
        (linen("SimpleCell") | {"params/cell/h/bias": np.ones(2)}, FileError, "holds h/bias; flax.linen.SimpleCell"),
        (linen("SimpleCell") | {"params/cell/i/bias": np.ones(3)}, FileError, r"i/bias has shape \(3,\); .* \(2,\)"),
        (linen("SimpleCell") | {"params/cell/h/kernel": np.ones((3, 2))}, FileError, r"has shape \(3, 2\); .*\(3, 3\)"),
        (linen("SimpleCell") | {"params/cell/i/kernel": np.ones(2)}, FileError, "has shape"),
        (linen("SimpleCell") | {"params/cell/i/kernel": NAN}, FileError, "holds 6 of 6 numbers that are NaN"),
        (linen("SimpleCell") | {"params/cell/i/kernel": np.ones((3, 2), int)}, UnsupportedError, "holds int64"),
        (nnx("GRUCell") | {"cell/dense_i/kernel": np.ones((3, 5))}, FileError, r"dense_i/kernel has shape \(3, 5\)"),
        (nnx("GRUCell") | {"cell/dense_h/kernel": np.ones((2, 5))}, FileError, "has shape"),
        (tree("if in", "hf hn", "if in hn", scope="cell"), UnsupportedError, "is a flax.linen.MGUCell"),
        ({"params/Dense_0/kernel": np.ones((2, 2))}, SelectorError, "no cell as Flax names them.*Dense_0/kernel"),
        ({"params/in/kernel": np.ones((2, 2))}, SelectorError, "no cell as Flax names them"),
        ({"h/kernel": np.ones((2, 2)), "hn/kernel": np.ones((2, 2))}, SelectorError, "no cell as Flax names them"),
        (linen("SimpleCell") | linen("SimpleCell", scope="cell"), FileError, "holds two cells in one place, the model"),
        (
            linen("SimpleCell") | {"params.cell.i.kernel.value": np.ones((3, 2))},
            FileError,
            "holds both params/cell/i/kernel and params.cell.i.kernel.value, which are the same parameter",
        ),
        (linen("SimpleCell", scope="forward_rnn/cell"), FileError, "the model has forward_rnn; an nn.Bidirectional"),
        (
            linen("SimpleCell", scope="forward_rnn/cell") | linen("GRUCell", scope="backward_rnn/cell"),
            UnsupportedError,
            "a forward and a backward cell of other kinds or sizes",
        ),
    ],
)
def test_what_is_no_cell_of_flax_is_refused(arrays: dict[str, Array], kind: type[RnnverifyError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        read(contents(arrays), None)
    assert str(caught.value).isprintable()
