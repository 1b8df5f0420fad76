"""Names alone: which weights make a cell, which classes the loader may meet."""

from __future__ import annotations

from typing import Any

import pytest
from keras_models import layer, rnn, sequential

from rnnverify.adapters.keras.config import snake_case
from rnnverify.adapters.keras.names import cells_in
from rnnverify.adapters.keras.safety import why_not


@pytest.mark.parametrize(
    ("names", "cells"),
    [
        (["a/a_W:0", "a/a_U:0", "a/a_b:0"], [("a/a", "")]),
        (["b/forward_a_W", "b/forward_a_U", "b/backward_a_W", "b/backward_a_U"], [("b", "forward"), ("b", "backward")]),
        (["a/a/kernel:0", "a/a/recurrent_kernel:0"], [("a/a", "")]),
        (["a/kernel", "a/recurrent_kernel", "a/bias"], [("a", "")]),
        (["a/a/kernel:0", "a/a/recurrent_kernel:0", "a/a/kernel_1:0", "a/a/recurrent_kernel_1:0"], [("a/a", "")] * 2),
        (["r/b'r/kernel:0'_2", "r/b'r/recurrent_kernel:0'_2"], [("r/r", "")]),
        (["a/a/simple_rnn_cell_4/kernel:0", "a/a/simple_rnn_cell_4/recurrent_kernel:0"], [("a/a", "")]),
        (["r/r/stacked_rnn_cells/c/kernel:0", "r/r/stacked_rnn_cells/c/recurrent_kernel:0"], [("r/r", "")]),
        (["layers/rnn/cell/cells/simple_rnn_cell_1/vars/0", "layers/rnn/cell/cells/simple_rnn_cell_1/vars/1"],
         [("layers/rnn", "")]),
        (["layers/b/backward_layer/cell/vars/0", "layers/b/backward_layer/cell/vars/1"], [("layers/b", "backward")]),
        (["layer_0/param_0", "layer_0/param_1", "layer_0/param_2"], [("layer_0", "")]),
        (["d/d/kernel:0", "d/d/bias:0"], []),
        (["d/d_W", "d/d_b", "e/embeddings:0"], []),
        (["g/g_W_z", "g/g_U_z", "g/g_b_z"], []),
        ([f"g/g_{role}_{gate}:0" for gate in "zrh" for role in "WUb"], [("g/g", "")]),
        ([f"l/forward_l_{role}_{gate}" for gate in "icfo" for role in "WUb"], [("l", "forward")]),
        ([f"layer_0/param_{k}" for k in range(9)], [("layer_0", "")]),
        ([f"layer_0/param_{k}" for k in range(12)], [("layer_0", "")]),
        (["l/l/lstm_cell_2/kernel:0", "l/l/lstm_cell_2/recurrent_kernel:0"], [("l/l", "")]),
    ],
)  # fmt: skip
def test_cells_by_name(names: list[str], cells: list[tuple[str, str]]) -> None:
    found = cells_in(names)
    assert [(each.layer, each.side) for each in found] == cells
    assert [name for each in found for name in each.in_order] == (names if cells else [])


@pytest.mark.parametrize(
    ("class_name", "group"),
    [
        ("SimpleRNN", "simple_rnn"),
        ("StackedRNNCells", "stacked_rnn_cells"),
        ("SimpleRNNCell", "simple_rnn_cell"),
        ("TimeDistributed", "time_distributed"),
        ("RNN", "rnn"),
        ("LSTM", "lstm"),
        ("ConvLSTM2D", "conv_lstm2d"),
    ],
)
def test_group_names_of_keras_3(class_name: str, group: str) -> None:
    assert snake_case(class_name) == group


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        (layer("Lambda", "l"), "'Lambda'"),
        (layer("exec", "l"), "'exec'"),
        (rnn("a", activation={"class_name": "function", "config": "f", "module": "os"}), "'function'"),
        (rnn("a", activation={"module": "os", "config": "system"}), "'os'"),
        ({**rnn("a"), "module": "builtins"}, "'SimpleRNN'"),
        ({**rnn("a"), "registered_name": "mine>RNN"}, "'mine>RNN'"),
        (layer("Dense", "d", compile_config={"class_name": "Evil"}), "'Evil'"),
        ({"class_name": ["Dense"], "config": {}}, "Dense"),
    ],
)
def test_the_loader_meets_no_class_beyond_the_list(stored: dict[str, Any], named: str) -> None:
    assert named in why_not(sequential(stored))


def test_the_loader_may_meet_keras_s_own() -> None:
    model = sequential(layer("InputLayer", "i"), rnn("a"), layer("Dense", "d"))
    assert why_not({**model, "module": "keras", "registered_name": None}) == ""
    assert why_not({**model, "compile_config": {"optimizer": {"class_name": "Mine"}}}) == ""
    assert why_not({**model, "module": "mine"}) != ""
