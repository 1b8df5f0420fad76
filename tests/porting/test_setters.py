"""How a tensor is set in each framework; `test_fix_code_native` has every one of them run what is said here."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_every_layout import opened

from rnnverify.porting.array_code import Call
from rnnverify.porting.assembly import Assignment
from rnnverify.porting.setters import SETTERS, set_to

HOLDS = frozenset({("layer 0", "kernel")})


@pytest.mark.parametrize(
    ("source", "name", "line"),
    [
        ("rnn.pt", "weight_ih_l0", 'state_dict["weight_ih_l0"] = torch.from_numpy(v)'),
        ("stacked.keras", "layers/simple_rnn/cell/vars/1", 'model.get_layer("lower").cell.recurrent_kernel.assign(v)'),
        (
            "genuine/keras-1.2.2/gru_rb_weights/weights.h5",
            "gru_1/gru_1_U_h:0",
            'keras.backend.set_value(model.get_layer("gru_1").U_h, v)',
        ),
        ("basic_rnn_cell.ckpt", "rnn/basic_rnn_cell/bias", 'variables["rnn/basic_rnn_cell/bias"].load(v, session)'),
        ("simple_cell.msgpack", "params/cell/i/kernel", 'flat["params/cell/i/kernel"] = v'),
        ("gru.eqx", "leaf 3", "leaves[3] = v"),
    ],
)
def test_a_whole_tensor(source: str, name: str, line: str, fixtures: Path) -> None:
    reading = opened(fixtures / source).reading
    assert reading and set_to(Assignment(name, "", "v", HOLDS), reading) == line


def test_a_part_of_a_tensor(fixtures: Path) -> None:
    reading = opened(fixtures / "genuine/onnx-from-torch-1.12.1/lstm_a_onnx/model.onnx").reading
    assert reading and set_to(Assignment("W", "[0]", "v", HOLDS), reading) == 'tensors["W"][0] = v'
    reading = opened(fixtures / "basic_rnn_cell.ckpt").reading
    assert reading and set_to(Assignment("W", "[0]", "v", HOLDS), reading) is None  # which TensorFlow cannot


def test_no_variable_holds_a_stranger(fixtures: Path) -> None:
    reading = opened(fixtures / "simple_rnn.h5").reading
    assert reading and set_to(Assignment("else", "", "v", HOLDS), reading) is None


def test_a_long_value_takes_several_lines(fixtures: Path) -> None:
    reading = opened(fixtures / "rnn.pt").reading
    value = Call("np.concatenate([", ("a" * 60, "b" * 60), "])")
    assert reading
    found = set_to(Assignment("w", "", value, HOLDS), reading)
    assert found and found.splitlines()[0] == 'state_dict["w"] = torch.from_numpy(np.concatenate(['
    assert found.splitlines()[-1] == "]))"


def test_every_framework_has_one() -> None:
    assert set(SETTERS) == {"torch", "keras", "onnx", "tensorflow", "flax", "equinox"}
