"""What a file states beside its weights is used, held against them, and otherwise assumed."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_torch import layer, opened, read

from rnnverify.adapters.torch import adapter
from rnnverify.adapters.torch import facts as torch_facts
from rnnverify.containers.torch_globals import LAYERS
from rnnverify.errors import FileError

FIXTURES = Path(__file__).parents[2] / "fixtures"
RNN = {"class": "torch.nn.modules.rnn.RNN", "mode": "RNN_RELU", "hidden_size": 2, "batch_first": True}


def test_a_stated_activation_is_no_assumption() -> None:
    reading = read(layer(3, 2, "rnn."), modules={"": {"class": "user.Net"}, "rnn.": RNN})
    assert reading.activation_stated
    assert reading.network.layers[0].activation == "relu"
    assert reading.assumptions == reading.notes == ()
    cell = {"class": "torch.nn.modules.rnn.RNNCell", "nonlinearity": "relu"}
    assert read(layer(3, 2, suffix=""), modules={"": cell}).network.layers[0].activation == "relu"


@pytest.mark.parametrize("stated", [{}, {"nonlinearity": "sigmoid"}, {"class": "user.Cell"}])
def test_without_one_the_default_stands_and_is_not_stated(stated: dict[str, object]) -> None:
    reading = read(layer(3, 2), modules={"": stated})
    assert not reading.activation_stated
    assert reading.network.layers[0].activation == "tanh"


def test_layers_of_several_activations_each_have_their_own() -> None:
    arrays = layer(3, 2, "enc.") | layer(2, 4, "dec.")
    tanh = {"mode": "RNN_TANH", "hidden_size": 4}
    reading = read(arrays, "enc+dec", modules={"enc.": RNN, "dec.": tanh})
    assert [each.activation for each in reading.network.layers] == ["relu", "tanh"]
    assert reading.assumptions == (
        "enc, then dec: each reads the outputs of the one before, as selected; the file's own code is not read",
    )
    assert not read(arrays, "enc+dec", modules={"enc.": RNN}).activation_stated


@pytest.mark.parametrize(
    "change", [{"hidden_size": 3}, {"input_size": 4}, {"num_layers": 2}, {"bidirectional": True}, {"bias": False}]
)
def test_what_contradicts_the_weights_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(FileError, match=f"rnn states {next(iter(change))}"):
        read(layer(3, 2, "rnn."), modules={"rnn.": RNN | change})


def test_all_of_torchs_own_classes_are_known() -> None:
    assert {*torch_facts._CLASSES} == {*LAYERS}


def test_a_mode_that_the_weights_do_not_have_is_refused() -> None:
    with pytest.raises(FileError, match="states the mode LSTM"):
        read(layer(3, 2), modules={"": RNN | {"mode": "LSTM"}})


def test_a_users_class_is_assumed_to_compute_what_its_name_promises() -> None:
    reading = read(layer(3, 2), modules={"": RNN | {"class": "user.FastRNN"}})
    assert reading.assumptions == ("the layer computes what nn.RNN does: its class user.FastRNN is not in the file",)


def test_how_it_is_called_is_a_note() -> None:
    reading = read(layer(3, 2, "rnn."), modules={"rnn.": RNN | {"batch_first": False, "dropout": 0.5}})
    assert "rnn was made with batch_first=False" in reading.notes[0]
    assert "rnn has dropout 0.5" in reading.notes[1]


def test_torchs_loader_is_told_of_a_layer_and_asked_for_nothing_else() -> None:
    module = read(layer(3, 2), modules={"": RNN}, layers=("torch.nn.modules.rnn.RNN",)).recipe
    assert module.loadable and module.layers[0]["classes"] == ("torch.nn.modules.rnn.RNN",)
    scripted = read(layer(3, 2), not_loaded="it would run", refused_by_torch="x").recipe
    assert (scripted.loadable, scripted.why_not) == (False, "it would run")


def test_a_genuine_module_states_what_it_is() -> None:
    reading = adapter.read(opened(FIXTURES / "genuine/torch-1.0.1/rnn_emb_user_module/model.pt"), None)
    assert reading.activation_stated and reading.part == "rnn"
    assert reading.around.words == ("Embedding 'embedding', 20 tokens", "Dense 'fc', 8 -> 3")
    assert "user_model.CharRNN" in reading.recipe.why_not
