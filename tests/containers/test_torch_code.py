"""Facts in the source text of TorchScript, as PyTorch 1.0 to 2.13 prints it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.containers.torch_code import calls, class_text, constants, traced_cell

RELU_2 = {
    "mode": "RNN_RELU",
    "bias": True,
    "num_layers": 2,
    "dropout": 0.5,
    "bidirectional": False,
    "batch_first": True,
}


def function(*lines: str) -> str:
    return "\n".join(["  def forward(self,", "    x: Tensor) -> Tensor:", *(f"    {line}" for line in lines)])


@pytest.mark.parametrize(
    ("prefix", "lines"),
    [
        ("rnn.", ["_0 = [self.rnn.weight_ih_l0, self.rnn.weight_hh_l0]", "_1, _2 = torch.rnn_relu(x, hx, _0, ARGS)"]),
        ("", ["_3 = self.weight_ih_l0", "_4, _5 = torch.rnn_relu(x, hx, [_3, _2, _1, _0], ARGS)"]),
        ("a.enc.", ["_0 = self.a.enc", "_1 = _0.weight_ih_l0", "y, _9 = torch.rnn_relu(x, hx, [_1, _2], ARGS)"]),
        ("", ["_flat_weights = self._flat_weights", "_1, _2 = torch.rnn_relu(x, hx7, _flat_weights, ARGS)"]),
    ],
)
def test_a_call_states_what_its_layer_computes(prefix: str, lines: list[str]) -> None:
    text = function(*lines).replace("ARGS", "True, 2, 0.5, False, False, True")
    assert calls(text) == {prefix: RELU_2}


@pytest.mark.parametrize(
    ("call", "mode"), [("torch.gru(x, hx, _0, ARGS)", "GRU"), ("torch.lstm(x, [h0, c0], _0, ARGS)", "LSTM")]
)
def test_gated_layers_state_their_kind(call: str, mode: str) -> None:
    text = function("_0 = [self.rnn.weight_ih_l0]", f"_1, _2, _3 = {call}").replace(
        "ARGS", "True, 2, 0.5, False, False, True"
    )
    assert calls(text) == {"rnn.": RELU_2 | {"mode": mode}}


def test_what_is_unclear_stays_unsaid() -> None:
    arguments = "True, 1, 0., False, False, True"
    unknown = function(f"_1, _2 = torch.rnn_relu(x, hx, [CONSTANTS.c0], {arguments})")
    packed = function("_1, _2 = torch.rnn_relu(x, sizes, hx, self._flat_weights, True, 1, 0., False, False)")
    both = function(
        *(f"_1, _2 = torch.{op}(x, hx, self._flat_weights, {arguments})" for op in ("rnn_relu", "rnn_tanh"))
    )
    circle = function("_1 = _2.a", "_2 = _1.a", f"_3, _4 = torch.rnn_relu(x, hx, _1, {arguments})")
    for text in (unknown, packed, both, circle):
        assert calls(text) == {}


def test_names_of_one_function_mean_nothing_in_another() -> None:
    call = "_1, _2 = torch.rnn_relu(x, hx, _0, True, 2, 0.5, False, False, True)"
    assert calls(function("_0 = [self.rnn.weight_ih_l0]") + "\n" + function(call)) == {}


def test_a_cell_is_told_by_its_call_or_by_the_one_function_that_it_applies() -> None:
    call = "ret = torch.rnn_relu_cell(x, hx, self.cell.weight_ih, w, b, c)"
    assert calls(function(call)) == {"cell.": {"nonlinearity": "relu"}}
    for kind in ("gru", "lstm"):
        gated = f"_7, _8 = torch.{kind}_cell(x, [h, c], self.cell.weight_ih, w, b, c)"
        assert calls(function(gated)) == {"cell.": {"mode": kind.upper()}}
    assert traced_cell("return torch.tanh(torch.add_(_0, _1))") == {"nonlinearity": "tanh"}
    assert traced_cell("torch.tanh(a)\ntorch.relu(b)") == {}


def test_constants_are_read_and_nothing_else() -> None:
    text = (
        'class RNN(Module):\n  mode : Final[str] = "RNN_RELU"\n  batch_first : Final[bool] = False\n'
        "  dropout : Final[float] = 0.\n  num_layers : Final[int] = __import__('os')\n  other : Final[int] = 3\n"
    )
    assert constants(text) == {"mode": "RNN_RELU", "batch_first": False, "dropout": 0.0}


def test_a_class_ends_where_the_next_begins() -> None:
    text = "class A(Module):\n  a : int\nclass B(Module):\n  b : int\n"
    assert class_text(text, "A") == "class A(Module):\n  a : int\n"
    assert class_text(text, "B") == "class B(Module):\n  b : int\n"
    assert class_text(text, "C") == ""


@given(st.text(alphabet="torch.rnnelu([]) ,=_0self\n 1TrueFalse", max_size=400))
def test_any_text_is_read_quietly(text: str) -> None:
    assert isinstance(calls(text), dict) and isinstance(constants(text), dict)
