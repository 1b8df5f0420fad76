"""`assert_equivalent` with files and live objects, each in a process of its own as frameworks do not mix."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rnnverify.errors import OptionError
from rnnverify.options import Options
from rnnverify.testing import assert_equivalent

REFERENCE = Options(engine="reference")


def test_files_that_pass_and_fail(fixtures: Path) -> None:
    same = assert_equivalent(fixtures / "simple_rnn.h5", str(fixtures / "rnn.pt"), options=REFERENCE)
    assert same.verdict == "IDENTICAL"
    with pytest.raises(AssertionError) as caught:
        assert_equivalent(fixtures / "rnn.pt", fixtures / "wrong" / "recurrent_transposed.pt", options=REFERENCE)
    said = str(caught.value)
    assert said.startswith("DIFFERENT: A ") and "B-A DIFFERENT: maximum deviation" in said
    assert "56 of 64 weights differ" in said and "to see all of it: rnnverify compare " in said
    assert len(said.splitlines()) < 15


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(
        OptionError, match=r"dict cannot be compared; wanted a path, .* or a BasicRNNCell of TensorFlow"
    ):
        assert_equivalent({}, {}, options=REFERENCE)


TORCH = """
import torch
from rnnverify.testing import assert_equivalent
from rnnverify.options import Options
reference = Options(engine="reference")
module = torch.nn.RNN(5, 8, nonlinearity="relu")
def local():
    class Mine(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = module
    return Mine()
result = assert_equivalent(module, local(), options=reference)
assert result.verdict == "IDENTICAL", result
assert "relu" in result.sides[0].shape and "relu" in result.sides[1].shape
other = torch.nn.RNN(5, 8, nonlinearity="relu")
try:
    assert_equivalent(module, other, options=reference)
except AssertionError as error:
    assert "a live RNN" in str(error) and "save the sides" in str(error)
else:
    raise SystemExit("passed")
"""

KERAS = """
import sys, numpy as np
from rnnverify.errors import OptionError
from rnnverify.testing import assert_equivalent
from rnnverify.options import Options
keras = __import__(sys.argv[2])
reference = Options(engine="reference")
model = keras.models.load_model(sys.argv[1]) if sys.argv[2] == "keras" else None
layer = keras.layers.SimpleRNN(8, activation="relu")
try:
    assert_equivalent(layer, layer)
except OptionError as error:
    assert "is not built" in str(error)
else:
    raise SystemExit("passed")
layer.build((None, None, 5))
before = [np.array(w) for w in layer.get_weights()]
result = assert_equivalent(layer, keras.Sequential([keras.Input((None, 5)), layer]), options=reference)
assert result.verdict == "IDENTICAL" and "relu" in result.sides[0].shape
assert all((a == b).all() for a, b in zip(before, layer.get_weights()))
cell = keras.layers.SimpleRNNCell(8, activation="relu")
cell.build((None, 5))
cell.set_weights(before)
assert assert_equivalent(layer, cell, options=reference).verdict == "IDENTICAL"
if model is not None:
    assert_equivalent(model, sys.argv[1], options=reference)
"""

CELL = """
import sys
import numpy as np
import tensorflow as tf
from rnnverify.errors import OptionError
from rnnverify.testing import assert_equivalent
from rnnverify.options import Options
v1 = tf.compat.v1
reference = Options(engine="reference")
def refused(words, side):
    try:
        assert_equivalent(side, side)
    except OptionError as error:
        assert words in str(error), error
    else:
        raise SystemExit("passed")
cell = v1.nn.rnn_cell.BasicRNNCell(8, activation=tf.nn.relu)
refused("is not built", cell)
cell.build((None, 5))
kernel, bias = cell.get_weights()
bias = np.linspace(-1, 1, 8).astype(np.float32)
cell.set_weights([kernel, bias])
result = assert_equivalent(cell, (cell, [kernel, bias]), cell)
assert [side.engine for side in result.sides] == ["native"] * 3 and "relu" in result.sides[1].shape
assert all(side.framework == "tensorflow" for side in result.sides)
try:
    assert_equivalent(cell, (cell, [kernel, bias + 1]), options=reference)
except AssertionError as error:
    assert "a live BasicRNNCell" in str(error)
else:
    raise SystemExit("passed")
refused("wanted a kernel and a bias", (cell, [kernel]))
refused("GRUCell inside MultiRNNCell", v1.nn.rnn_cell.MultiRNNCell([v1.nn.rnn_cell.GRUCell(8)]))
with tf.Graph().as_default():
    stack = v1.nn.rnn_cell.MultiRNNCell([v1.nn.rnn_cell.BasicRNNCell(n, activation=tf.nn.tanh) for n in (4, 8)])
    v1.nn.dynamic_rnn(stack, v1.placeholder(tf.float32, [None, None, 5]), dtype=tf.float32)
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        values = session.run(stack.variables)
        result = assert_equivalent((stack, session), stack, (stack, dict(enumerate(values))), options=reference)
        assert result.verdict == "IDENTICAL" and "5 -> 4 -> 8, tanh" in result.sides[0].shape
    refused("give (cell, session)", stack)
"""


@pytest.mark.parametrize(
    ("code", "file", "framework"),
    [
        (TORCH, "rnn.pt", "torch"),
        (KERAS, "simple_rnn.keras", "keras"),
        (KERAS, "simple_rnn.keras", "tf_keras"),
        (CELL, "basic_rnn_cell.ckpt", "tensorflow"),
    ],
)
def test_live_objects(fixtures: Path, code: str, file: str, framework: str) -> None:
    command = [sys.executable, "-c", code, str(fixtures / file), framework]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    if framework == "tensorflow":
        environment["TF_USE_LEGACY_KERAS"] = "1"  # Keras 3 has no BasicRNNCell
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_fixture(tmp_path: Path, fixtures: Path) -> None:
    test = "def test_port(assert_equivalent):\n    assert_equivalent({!r}, {!r})\n"
    wrong = fixtures / "wrong" / "recurrent_transposed.pt"
    (tmp_path / "test_it.py").write_text(test.format(str(fixtures / "rnn.pt"), str(wrong)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([*command, "test_it.py"], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1 and "AssertionError: DIFFERENT: A " in done.stdout, done.stdout
