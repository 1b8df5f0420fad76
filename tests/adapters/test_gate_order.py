"""Roles tell in what order a tensor holds the gates, for every framework; of one gate there is nothing to tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnverify.adapters.gate_order import in_order
from rnnverify.sides import open_side, parse

ROLES = {
    ("mixed.pt#lstm", "lstm.weight_ih_l0"): "kernel (transposed), gates i, f, g, o in rows",
    ("mixed.pt#lstm", "lstm.bias_hh_l0"): "recurrent bias, gates i, f, g, o",
    ("mixed.pt#lstm", "lstm.weight_hr_l0"): "projection (transposed)",
    ("rnn.pt", "weight_ih_l0"): "kernel (transposed)",
    ("genuine/keras-2.2.4/gru_ra_bi_h5/model.h5", "bidirectional_1/bidirectional_1/forward_gru_1/bias:0"): (
        "bias (input, then recurrent), gates z, r, n in columns"
    ),
    ("genuine/keras-1.1.2/lstm_hs_consume_gpu/model.h5", "lstm_1/lstm_1_W:0"): "kernel, gates i, f, g, o in columns",
    ("genuine/keras-1.2.2/gru_rb_weights/weights.h5", "gru_1/gru_1_U_h:0"): "recurrent kernel of gate n",
    ("gates/lstm.ckpt", "rnn/basic_lstm_cell/bias"): "bias, gates i, g, f, o",
    ("gates/coupled.pb", "rnn/coupled_input_forget_gate_lstm_cell/W_0"): (
        "kernel (rows 0-2) and recurrent kernel (rows 3-6), gates g, f, o in columns, with i = 1 - f"
    ),
    ("gates/keras_gru.pb", "rnn/while/gru_cell/kernel"): "kernel, gates z, r, n in columns",
    ("optimized_lstm_nnx.msgpack", "cell/dense_i/kernel"): "kernel, gates i, f, g, o in columns",
    ("lstm_nnx.msgpack", "cell/hf/kernel"): "recurrent kernel, gate f",
    ("gru.eqx", "leaf 1"): "recurrent kernel (transposed), gates r, z, n in rows",
    ("genuine/onnx-from-torch-1.12.1/lstm_a_onnx/model.onnx", "onnx::LSTM_113"): (
        "biases (input, then recurrent), gates i, o, f, g"
    ),
}


@pytest.mark.parametrize(("source", "tensor"), ROLES)
def test_the_role_of_a_tensor(source: str, tensor: str, fixtures: Path) -> None:
    reading = open_side(parse(str(fixtures / source), "A")).reading
    assert reading and reading.roles[tensor] == f"layer 0 {ROLES[source, tensor]}"


def test_one_gate_has_no_order() -> None:
    assert (in_order("h", "rows"), in_order("", "rows")) == ("", "")
    assert (in_order("zr"), in_order("zr", "rows")) == (", gates z, r", ", gates z, r in rows")
