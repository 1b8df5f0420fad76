"""What a TensorFlow checkpoint may not hold, and what the message says of it."""

from pathlib import Path

import numpy as np
import pytest
from tf_cells import cell, holding

from rnnverify.adapters.tensorflow.adapter import read
from rnnverify.canonical import Array
from rnnverify.containers import tf_checkpoint
from rnnverify.errors import FileError, SelectorError, UnsupportedError

FIXTURES = Path(__file__).parents[2] / "fixtures"
KERNEL, BIAS = "rnn/basic_rnn_cell/kernel", "rnn/basic_rnn_cell/bias"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({KERNEL: np.ones((2, 2), np.float32)}, r"kernel has shape \(2, 2\): no row is left for the input"),
        ({KERNEL: np.ones((5, 0), np.float32)}, r"kernel has shape \(5, 0\)"),
        ({KERNEL: np.ones(5, np.float32)}, r"kernel has shape \(5,\)"),
        ({KERNEL: np.ones((5, 2), np.int32)}, "kernel holds int32"),
        ({KERNEL: np.full((5, 2), np.nan, np.float32)}, "kernel holds 10 NaN or infinite values"),
        ({BIAS: np.ones(3, np.float32)}, r"bias has shape \(3,\); with 2 units it must have \(2,\)"),
        ({BIAS: np.full(2, np.inf, np.float32)}, "bias holds 2 NaN"),
        ({"rnn/basic_rnn_cell/biases": np.ones(2, np.float32)}, "several tensors as bias"),
    ],
)
def test_weights_that_no_cell_can_have(change: dict[str, Array], found: str) -> None:
    with pytest.raises(FileError, match=found):
        read(holding({**cell("rnn/basic_rnn_cell", 3, 2), **change}), None)


def test_missing_tensors() -> None:
    tensors = cell("rnn/basic_rnn_cell", 3, 2)
    for name, role in ((KERNEL, "kernel"), (BIAS, "bias")):
        with pytest.raises(FileError, match=f"has no {role}"):
            read(holding({n: a for n, a in tensors.items() if n != name}), None)


@pytest.mark.parametrize(
    ("scopes", "found"),
    [
        (
            ["rnn/multi_rnn_cell/cell_0/basic_rnn_cell", "rnn/multi_rnn_cell/cell_2/basic_rnn_cell"],
            "layer 1 of rnn is missing",
        ),
        (
            [f"b/bw/multi_rnn_cell/cell_{n}/basic_rnn_cell" for n in (0, 2)],
            "the backward cell of layer 1 of b/bw is missing",
        ),
        (["bidirectional_rnn/fw/basic_rnn_cell"], "backward cell of layer 0 of bidirectional_rnn is missing"),
    ],
)
def test_missing_cells(scopes: list[str], found: str) -> None:
    with pytest.raises(FileError, match=found):
        read(holding({n: a for scope in scopes for n, a in cell(scope, 2, 2).items()}), None)


def test_directions_of_other_sizes() -> None:
    tensors = {**cell("b/fw/basic_rnn_cell", 3, 2), **cell("b/bw/basic_rnn_cell", 3, 4)}
    with pytest.raises(FileError, match="both directions must have the same sizes"):
        read(holding(tensors), None)


@pytest.mark.parametrize(
    ("scopes", "found"),
    [
        (["rnn/nas_cell"], r"have gates \(nas_cell\)"),
        (
            ["rnn/multi_rnn_cell/cell_0/UGRNNCell", "rnn/multi_rnn_cell/cell_1/basic_rnn_cell"],
            "cell_0/UGRNNCell is a cell with gates",
        ),
        (["rnn/multi_rnn_cell/cell_0/multi_rnn_cell/cell_0/basic_rnn_cell"], "a MultiRNNCell inside another"),
        (["rnn/attention_cell_wrapper/basic_rnn_cell"], "attention"),
        (["bidirectional/backward_rnn/simple_rnn_cell"], "Keras Bidirectional"),
    ],
)
def test_refused_by_name(scopes: list[str], found: str) -> None:
    with pytest.raises(UnsupportedError, match=found):
        read(holding({n: a for scope in scopes for n, a in cell(scope, 2, 2).items()}), None)


def test_genuine_objects_are_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"holds a Keras model.*; leave the prefix tf: out"):
        read(tf_checkpoint.read(FIXTURES / "genuine/tf.keras-2.1.4/rnn_bi_tfweights"), None)
    with pytest.raises(UnsupportedError, match="checkpoint of objects"):
        read(tf_checkpoint.read(FIXTURES / "bad/evil_savedmodel_writefile/saved_model"), None)


def test_nothing_recurrent() -> None:
    with pytest.raises(SelectorError, match="it holds no recurrent cell, only dense/kernel"):
        read(holding({"dense/kernel": np.ones((2, 2), np.float32)}), None)
    with pytest.raises(SelectorError, match="no moving averages"):
        read(holding(cell("rnn/basic_rnn_cell", 3, 2)), ":ema")
    shadows = {f"{name}/ExponentialMovingAverage": a for name, a in cell("rnn/basic_rnn_cell", 3, 2).items()}
    with pytest.raises(SelectorError, match=r"give m#rnn:ema$"):
        read(holding(shadows), None)
