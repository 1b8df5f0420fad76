"""What is refused, and by which name: options, classes, and weights that contradict the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import cell, gates, held, held_by_group, layer, named, numbered, rnn, sequential, weights

from rnnverify.adapters.keras.adapter import read
from rnnverify.containers import hdf5, keras_zip
from rnnverify.errors import FileError, UnsupportedError

BAD = Path(__file__).parents[2] / "fixtures/bad"
GENUINE = Path(__file__).parents[2] / "fixtures/genuine"
GOOD = {"a": named("a/", weights(2, 3))}
POLICY = {"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}}


@pytest.mark.parametrize(
    ("case", "error", "phrase"),
    [
        ("h5_config_units", FileError, r"kernel .* has shape \(5, 8\), wanted \(5, 6\)"),
        ("h5_external_link_ok", UnsupportedError, "kernel .* link into another file"),
        ("h5_external_storage", UnsupportedError, "kernel .* stored in another file"),
        ("h5_virtual_dataset", UnsupportedError, "kernel .* virtual dataset"),
        ("h5_layer_class_unknown", UnsupportedError, "MySpecialRNN 'simple_rnn_1' is of a class"),
        ("h5_missing_bias", FileError, "holds no array for the bias"),
        ("huge_h5_gzip", FileError, r"has shape \(65536, 8192\)"),
        ("huge_h5_unallocated", FileError, r"has shape \(1048576, 1048576\)"),
        ("keras_convlstm", UnsupportedError, "ConvLSTM2D 'conv_lstm2d' is not compared yet"),
    ],
)
def test_bad_files(case: str, error: type[FileError], phrase: str) -> None:
    (path,) = (p for p in (BAD / case).iterdir() if p.suffix in (".h5", ".keras"))
    with pytest.raises(error, match=phrase) as caught:
        read((keras_zip if path.suffix == ".keras" else hdf5).read(path), None)
    assert type(caught.value) is error and "\n" not in str(caught.value)


def test_a_file_that_names_exec_is_read_but_kept_from_the_loader() -> None:
    reading = read(keras_zip.read(BAD / "evil_keras_module/model.keras"), None)
    assert not reading.recipe.loadable and "'exec'" in reading.recipe.why_not


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        ({"activation": "my_act"}, "activation 'my_act'"),
        ({"activation": "softmax"}, "activation 'softmax'"),
        ({"activation": {"class_name": "LeakyReLU", "config": {"alpha": 0.3}}}, "activation 'LeakyReLU'"),
        (
            {"activation": {"class_name": "function", "config": "tanh", "registered_name": "mine>tanh"}},
            "activation 'mine>tanh'",
        ),
        ({"quantization_config": {"x": 1}}, "option quantization_config="),
        ({"num_constants": 1}, "option num_constants=1"),
        ({"dtype": POLICY}, "dtype policy"),
        ({"dtype": {"class_name": "Policy", "config": {"name": ["x"]}}}, "dtype policy"),
        ({"clip": 3.0}, "option clip=3.0 is not compared yet"),
        ({"merge": "x"}, "option merge=x"),
    ],
)
def test_options_that_change_the_function(options: dict[str, Any], phrase: str) -> None:
    with pytest.raises(UnsupportedError, match=f"SimpleRNN 'a': .*{phrase}"):
        read(held(sequential(rnn("a", **options)), GOOD), None)


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.5, "recurrent_dropout": 0.2, "seed": 3},
        {"unroll": True, "implementation": 2, "use_cudnn": "auto", "zero_output_for_mask": True},
        {"kernel_constraint": {"class_name": "MaxNorm", "config": {}}, "trainable": False},
        {"return_state": True, "stateful": True, "time_major": True, "quantization_config": None},
        {"kernel_regularizer": {"class_name": "L2", "config": {"l2": 0.1}}, "activity_regularizer": "l1"},
        {"recurrent_initializer": {"class_name": "Orthogonal", "config": {}}, "bias_initializer": "zeros"},
        {"dtype": {"class_name": "PolicyV1", "config": {"name": "float32"}}, "batch_input_shape": [None, 3, 2]},
        {"init": "glorot_uniform", "inner_init": "orthogonal", "dropout_W": 0.5, "dropout_U": 0.5},
        {"W_regularizer": {"name": "L2"}, "b_regularizer": {"name": "L1"}, "input_dim": 2, "input_length": 3},
        {"unknown": None},
    ],
)
def test_options_that_do_not_change_it(options: dict[str, Any]) -> None:
    assert read(held(sequential(rnn("a", **options)), GOOD), None).part == "a"


def test_hard_sigmoid_of_an_unknown_version() -> None:
    contents = held(sequential(rnn("a", activation="hard_sigmoid")), GOOD, version="")
    zipped = type(contents)(contents.path, "Keras zip", "keras", contents.tensors, metadata=contents.metadata)
    with pytest.raises(UnsupportedError, match="hard_sigmoid means one function before Keras 3 and another since"):
        read(zipped, None)


@pytest.mark.parametrize(
    ("stored", "phrase"),
    [
        (layer("ConvLSTM1D", "a"), "ConvLSTM1D 'a' is not compared yet"),
        (layer("Bidirectional", "a", layer=layer("ConvLSTM2D", "c")), "Bidirectional 'a' of ConvLSTM2D"),
        (layer("RNN", "a", cell=layer("PeepholeLSTMCell", "c")), "RNN 'a' of PeepholeLSTMCell"),
        (layer("TimeDistributed", "a", layer=layer("LSTM", "i")), "TimeDistributed 'a' holds a recurrent layer"),
        (gates("a", class_name="LSTM", recurrent_activation="odd"), "LSTM 'a': activation 'odd'"),
        (gates("a", class_name="LSTM", reset_after=True), "LSTM 'a': the option reset_after=True"),
        (layer("RNN", "a", cell=layer("MyCell", "c")), "RNN 'a' of MyCell"),
        (layer("TimeDistributed", "a", layer=rnn("i")), "TimeDistributed 'a' holds a recurrent layer"),
        (layer("Mine", "a"), "Mine 'a' is of a class that is not Keras's own"),
        ({**rnn("a"), "registered_name": "my>SimpleRNN"}, "of a class that is not Keras's own"),
        ({**rnn("a"), "module": "mine.layers"}, "of a class that is not Keras's own"),
        (layer("Bidirectional", "a", layer=rnn("i"), merge_mode="max"), "merge_mode 'max'"),
        (layer("Bidirectional", "a", layer=rnn("i", go_backwards=True)), "go_backwards layer inside"),
        (
            layer("Bidirectional", "a", layer=rnn("i"), backward_layer=rnn("j", activation="relu")),
            "backward_layer unlike",
        ),
        (layer("Bidirectional", "a", layer=layer("RNN", "i", cell=[cell("c"), cell("d")])), "stacked cells"),
    ],
)
def test_classes_that_are_not_compared(stored: dict[str, Any], phrase: str) -> None:
    contents = held(sequential(stored), GOOD)
    for selector in (None, "a"):
        with pytest.raises(UnsupportedError, match=phrase):
            read(contents, selector)


def test_a_convolutional_layer_beside_is_named_and_refused_when_meant() -> None:
    contents = held(sequential(rnn("a"), layer("ConvLSTM2D", "b")), GOOD)
    assert read(contents, None).not_compared == ("ConvLSTM2D 'b'",)
    with pytest.raises(UnsupportedError, match="ConvLSTM2D 'b' is not compared yet"):
        read(contents, "b")


def test_a_refused_layer_beside_is_not_passed_over_silently() -> None:
    groups = GOOD | {"b": named("b/", weights(3, 3))}
    with pytest.raises(UnsupportedError, match="SimpleRNN 'b': activation 'odd'"):
        read(held(sequential(rnn("a"), rnn("b", activation="odd")), groups), None)


@pytest.mark.parametrize("several", [2, 5])
def test_gates_of_no_known_cell_are_refused(several: int) -> None:
    with pytest.raises(UnsupportedError, match=f"has {several} gates a unit, and is not compared yet"):
        read(held(None, {"a": named("a/", weights(2, 3, gates=several))}), None)


def test_gates_of_keras_1_that_lack_some_are_refused() -> None:
    listed = {f"a_{role}_{gate}:0": array for gate in "zr" for role, array in zip("WUb", weights(2, 3), strict=True)}
    with pytest.raises(UnsupportedError, match="has gates, but not those of GRU or LSTM"):
        read(held(None, {"a": listed}), None)


@pytest.mark.parametrize("reset_after", [False, True])
def test_a_bias_of_the_other_form_of_gru_is_named(reset_after: bool) -> None:
    arrays = weights(2, 3, gates=3)
    arrays[2] = arrays[2] if reset_after else np.stack([arrays[2]] * 2)
    wanted = r"\(2, 9\)" if reset_after else r"\(9,\)"
    with pytest.raises(FileError, match=f"bias 'a/a/bias:0' has shape .*, wanted {wanted}"):
        read(held(sequential(gates("a", reset_after=reset_after)), {"a": named("a/", arrays)}), None)


def test_a_class_of_its_own_is_not_taken_for_simple_rnn() -> None:
    with pytest.raises(UnsupportedError, match="class 'my_rnn'"):
        read(held_by_group(None, numbered("layers/my_rnn/cell", weights(2, 3))), None)


F4 = np.float32


@pytest.mark.parametrize(
    ("role", "array", "phrase"),
    [
        ("kernel", np.zeros((2, 4), F4), r"kernel 'a/a/kernel:0' has shape \(2, 4\), wanted \(2, 3\)"),
        ("kernel", F4(1).reshape(()), r"has shape \(\), wanted \(I, H\)"),
        ("kernel", np.zeros((0, 3), F4), r"has shape \(0, 3\), wanted \(I, H\)"),
        ("recurrent_kernel", np.zeros((3, 2), F4), r"recurrent kernel .* has shape \(3, 2\), wanted \(3, 3\)"),
        ("bias", np.zeros(1, F4), r"bias .* has shape \(1,\), wanted \(3,\)"),
        ("bias", np.zeros((2, 3), F4), r"bias .* has shape \(2, 3\), wanted \(3,\)"),
        ("bias", np.zeros(3, np.int32), "bias .* has dtype int32, wanted one of"),
        ("bias", np.array([1, np.nan, np.inf], F4), "tensor 'a/a/bias:0' has 2 values that are NaN or infinite"),
    ],
)
def test_weights_that_make_no_sense(role: str, array: Any, phrase: str) -> None:
    wrong = {"a": GOOD["a"] | {f"a/{role}:0": array}}
    for model in (sequential(rnn("a")), None):
        with pytest.raises(FileError, match=phrase if model or role != "recurrent_kernel" else "has shape"):
            read(held(model, wrong), None)


def test_weights_and_configuration_that_disagree() -> None:
    def refused(model: Any, groups: Any, phrase: str, **metadata: Any) -> None:
        with pytest.raises(FileError, match=phrase):
            read(held(model, groups, **metadata), None)

    refused(sequential(rnn("a", use_bias=False)), GOOD, "use_bias=False, but the file lists")
    refused(sequential(rnn("a")), {"a": named("a/", weights(2, 3, bias=False))}, "use_bias=True, but the file lists")
    refused(sequential(rnn("b")), GOOD, "no weights of SimpleRNN 'b'")
    refused(sequential(rnn("a")), {"a": {}}, "has 1 cells .*, but the file lists none")
    refused(sequential(rnn("a", units=0)), GOOD, "units 0, wanted 1 or more")
    refused(sequential(layer("SimpleRNN", "a", units="3")), GOOD, "units 3, wanted 1 or more")
    refused(
        sequential(rnn("a"), rnn("b")), GOOD | {"b": named("b/", weights(5, 3))}, "'b' reads 5 features, but gets 3"
    )
    refused(sequential(layer("RNN", "a", cell=[])), GOOD, "does not say what is inside")
    refused({"class_name": "Sequential", "config": {"layers": 3}}, GOOD, "lists no layers")
    refused({"class_name": "Sequential", "config": [{}]}, GOOD, "has no class_name")


def test_groups_and_configuration_that_disagree() -> None:
    tensors = numbered("layers/simple_rnn/cell", weights(2, 3))
    with pytest.raises(FileError, match="belongs to a layer 'b', not to SimpleRNN 'a'"):
        read(held_by_group(sequential(rnn("a")), tensors, names={"layers/simple_rnn": "b"}), None)
    with pytest.raises(FileError, match="use_bias=False, but the file lists"):
        read(held_by_group(sequential(rnn("a", use_bias=False)), tensors), None)
    with pytest.raises(FileError, match="no array for the kernel 'layers/simple_rnn_1/cell/vars/0'"):
        read(held_by_group(sequential(rnn("a"), rnn("b")), tensors), None)


def test_one_direction_of_two() -> None:
    tensors = numbered("layers/bidirectional/forward_layer/cell", weights(2, 3))
    with pytest.raises(FileError, match="'bidirectional' lacks one of its two directions"):
        read(held_by_group(None, tensors), None)
