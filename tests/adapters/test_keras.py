"""Keras files to canonical networks: genuine files of many versions, and models in memory for each rule."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import cell, functional, held, held_by_group, layer, named, numbered, rnn, sequential, states, weights

from rnnverify.adapters.keras.adapter import read
from rnnverify.containers import open_model
from rnnverify.containers.contents import Contents
from rnnverify.errors import SelectorError

GENUINE = Path(__file__).parents[2] / "fixtures/genuine"


def opened(case: str) -> Contents:
    name = json.loads((GENUINE / case / "case.json").read_text(encoding="utf-8"))["main_file"]
    return open_model(GENUINE / case / name)


@pytest.mark.parametrize(
    ("case", "part", "recorded"),
    [
        ("keras-1.2.2/rnn_bi_sum_h5", "bidirectional_1", "y"),
        ("keras-2.0.9/rnn_a_cell", "rnn_1", "y"),
        ("keras-2.3.1/rnn_3l_het_cells", "rnn_1", "y"),
        ("tf.keras-2.4.4/rnn_2l_nested_h5", "inner_rnn+outer_rnn", "y"),
        ("tf_keras-2.21.0/rnn_a_compiled", "simple_rnn_1", "y"),
        ("keras-3.0.5/rnn_back_keras", "simple_rnn", "y"),
        ("keras-3.15.1/rnn_2l_stackedcells", "rnn", "y"),
        ("keras-3.15.1/rnn_bi_keras", "bidirectional", "y"),
        ("keras-3.15.1/rnn_td_h5", "simple_rnn", "y"),
        ("keras-3.15.1/rnn_bf16", "simple_rnn", "y_float32_compute"),
        ("keras-3.15.1/rnn_a_export", "simple_rnn", "y"),
        ("tf.keras-2.1.4/rnn_a_savedmodel", "simple_rnn", "y"),
        ("tf.keras-2.1.4/rnn_bi_tfweights", "bidirectional", "y"),
        ("tf.keras-2.15.1/rnn_2l_nested_tfweights", "inner_rnn+outer_rnn", "y"),
        ("tf.keras-2.15.1/rnn_bi_savedmodel_nt", "bidirectional", "y"),
    ],
)
def test_genuine_files_give_the_outputs_that_keras_gave(case: str, part: str, recorded: str) -> None:
    reading = read(opened(case), None)
    arrays = np.load(GENUINE / case / "io.npz")
    assert reading.part == part
    assert np.abs(states(reading.network, arrays["x"]) - arrays[recorded]).max() < 2e-6
    assert {*reading.roles, *reading.unused} == {*opened(case).tensors}


def test_three_genuine_parts_are_asked_for_and_found() -> None:
    case = "tf.keras-2.15.1/rnn_multi_h5"
    arrays = np.load(GENUINE / case / "io.npz")
    with pytest.raises(SelectorError, match=r"#enc\+dec, .*#side$"):
        read(opened(case), None)
    for selector, recorded in (("enc", "y_enc"), ("enc+dec", "y_dec"), ("side", "y_side")):
        network = read(opened(case), selector).network
        assert np.abs(states(network, arrays["x"]) - arrays[recorded]).max() < 2e-6
    with pytest.raises(SelectorError, match=r"3 recurrent parts; .*#simple_rnn, .*#simple_rnn_1, .*#simple_rnn_2$"):
        read(opened("keras-3.0.5/rnn_multi_weights"), None)


def test_keras_0_3_weights_are_read_by_number(tmp_path: Path) -> None:
    case = GENUINE / "keras-0.3.3-theano/rnn_back_weights"
    shutil.copy(case / "weights.h5", tmp_path)  # without the architecture beside them
    reading = read(open_model(tmp_path / "weights.h5"), None)
    arrays = np.load(case / "io.npz")
    assert not reading.activation_stated and "go_backwards is False" in reading.assumptions
    # the file does not say that this layer runs backwards: turned by hand, it gives what was recorded
    assert np.abs(states(reading.network, arrays["x"][:, ::-1]) - arrays["y"]).max() < 2e-6


def test_tensorflow_forms_state_what_they_state() -> None:
    saved = read(opened("tf.keras-2.4.4/rnn_emb_savedmodel_nt"), None)
    assert saved.activation_stated and not saved.assumptions
    assert saved.around.words == ("Embedding 'embedding', 20 tokens", "Dense 'dense', 8 -> 3")
    assert not saved.recipe.loadable and "runs the functions" in saved.recipe.why_not
    weights_alone = read(opened("tf.keras-2.15.1/rnn_emb_tfckpt"), None)
    assert not weights_alone.activation_stated and "go_backwards is False" in weights_alone.assumptions
    assert weights_alone.unused["save_counter"] == "state of the optimizer or the trainer"
    assert saved.network.fingerprint() == weights_alone.network.fingerprint()
    exported = read(opened("keras-3.15.1/rnn_a_export"), None)
    assert exported.activation_stated and "go_backwards is False" in exported.assumptions
    assert exported.unused["_all_variables/0"].endswith("that the file holds twice")


def test_cells_without_configuration_leave_the_activation_open() -> None:
    reading = read(opened("keras-2.0.9/rnn_a_cell"), None)
    assert not reading.activation_stated and reading.network.layers[0].hidden_size == 8


def test_embedding_and_head_are_read_with_it() -> None:
    reading = read(opened("keras-3.0.5/rnn_emb_keras"), None)
    assert reading.around.words == ("Embedding 'embedding', 20 tokens", "Dense 'dense', 8 -> 3")
    assert not reading.not_compared
    assert reading.notes == ("'simple_rnn' returns the last step only; every step is compared",)


def test_optimizer_state_is_unused() -> None:
    unused = read(opened("tf_keras-2.21.0/rnn_a_compiled"), None).unused
    assert {*unused.values()} == {"optimizer state"}


def test_masks_are_noted() -> None:
    reading = read(opened("keras-2.2.4/rnn_mask_h5"), None)
    assert reading.mask_value == 0
    assert reading.notes[0] == "Masking 'masking_1' masks steps whose features all are 0: inputs are used without them"


def test_masks_that_inputs_do_not_tell_are_noted() -> None:
    embedding = layer("Embedding", "e", input_dim=4, output_dim=2, mask_zero=True)
    reading = read(held(sequential(embedding, rnn("a")), {"a": named("a/", weights(2, 3))}), None)
    assert reading.mask_value is None
    assert reading.notes == ("Embedding 'e' may mask steps; every step is compared as an unmasked one",)


def test_recipe_of_stacked_cells_is_plain_json() -> None:
    recipe = read(opened("keras-2.3.1/rnn_3l_het_cells"), None).recipe
    (spec,) = recipe.layers
    assert json.loads(json.dumps(spec)) == spec
    assert spec["cells"] == [{"units": units, "use_bias": True, "cudnn": False} for units in (9, 6, 4)]
    assert spec["path"] == ["rnn_1"] and spec["kind"] == "RNN" and spec["merge_mode"] is None
    tensors = spec["tensors"]
    assert isinstance(tensors, list) and [*recipe.tensors] == [name for cell in tensors[0] for name in cell]
    assert recipe.loadable and not recipe.why_not


def test_arrays_are_the_file_s_own() -> None:
    ours = weights(2, 3)
    reading = read(held(sequential(rnn("a")), {"a": named("a/", ours)}), None)
    assert all(np.array_equal(x, y) for x, y in zip(reading.recipe.tensors.values(), ours, strict=True))
    direction = reading.network.layers[0].directions[0]
    assert direction.has_bias and np.array_equal(direction.bias_input[0], ours[2])
    assert not direction.bias_recurrent.any()
    assert reading.roles["a/a/recurrent_kernel:0"] == "layer 0 recurrent kernel"


def test_no_bias_is_zeros() -> None:
    reading = read(held(sequential(rnn("a", use_bias=False)), {"a": named("a/", weights(2, 3, bias=False))}), None)
    assert not reading.network.layers[0].directions[0].has_bias
    assert reading.recipe.layers[0]["cells"] == [{"units": 3, "use_bias": False, "cudnn": False}]


def test_go_backwards_reads_in_reverse_and_keeps_its_order() -> None:
    (made,) = read(
        held(sequential(rnn("a", go_backwards=True)), {"a": named("a/", weights(2, 3))}), None
    ).network.layers
    assert made.directions[0].reverse and not made.time_restored


def test_stacked_cells_that_go_backwards_turn_the_input_once() -> None:
    cells = layer("RNN", "r", cell=[cell("c"), cell("d")], go_backwards=True, return_sequences=True)
    held_weights = named("r/", weights(2, 3)) | named("r/", weights(3, 3), "_1:0")
    first, second = read(held(sequential(cells), {"r": held_weights}), None).network.layers
    assert first.directions[0].reverse and not first.time_restored
    assert not second.directions[0].reverse and second.time_restored


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave"])
def test_merge_modes(merge: str) -> None:
    model = sequential(layer("Bidirectional", "b", layer=rnn("a"), merge_mode=merge))
    held_weights = named("b/forward_a/", weights(2, 3)) | named("b/backward_a/", weights(2, 3))
    reading = read(held(model, {"b": held_weights}), None)
    (made,) = reading.network.layers
    assert made.merge == merge and made.time_restored
    assert [direction.reverse for direction in made.directions] == [False, True]
    assert reading.roles["b/b/backward_a/kernel:0"] == "layer 0 reverse kernel"


@pytest.mark.parametrize(
    ("stored", "version", "canonical"),
    [
        ("relu", "2.2.4", "relu"),
        (None, "2.2.4", "linear"),
        ("swish", "2.15.0", "silu"),
        ("hard_sigmoid", "1.2.2", "keras2_hard_sigmoid"),
        ("hard_sigmoid", "2.3.0-tf", "keras2_hard_sigmoid"),
        ("hard_sigmoid", "3.0.5", "hard_sigmoid"),
        ("hard_sigmoid", "", "keras2_hard_sigmoid"),  # HDF5 without a version is of Keras 1
        ({"class_name": "function", "config": "relu", "module": "keras.activations"}, "3.0.5", "relu"),
        ({"class_name": "function", "config": "elu", "module": "builtins", "registered_name": "elu"}, "2.15.0", "elu"),
    ],
)
def test_activations_by_name_and_version(stored: object, version: str, canonical: str) -> None:
    model = sequential(rnn("a", activation=stored))
    reading = read(held(model, {"a": named("a/", weights(2, 3))}, version), None)
    assert reading.network.layers[0].activation == canonical and reading.activation_stated


def test_keras_1_lists_layers_and_calls_them_w_u_b() -> None:
    stored = {"name": "a", "output_dim": 3, "activation": "relu", "return_sequences": True, "consume_less": "cpu"}
    model = {"class_name": "Sequential", "config": [{"class_name": "SimpleRNN", "config": stored}]}
    arrays = dict(zip(("a_W", "a_U", "a_b"), weights(2, 3), strict=True))
    reading = read(held(model, {"a": arrays}, "1.2.2"), None)
    assert reading.network.layers[0].activation == "relu" and len(reading.roles) == 3


def test_groups_of_keras_3_are_counted_by_class_in_each_model() -> None:
    inner = sequential(rnn("x"), name="inner")
    model = sequential(inner, rnn("y"), layer("Dense", "d"), rnn("z"))
    ours = {
        "layers/sequential/layers/simple_rnn/cell": weights(2, 3),
        "layers/simple_rnn/cell": weights(3, 3),
        "layers/simple_rnn_1/cell": weights(4, 3),
    }
    tensors = {name: array for group, arrays in ours.items() for name, array in numbered(group, arrays).items()}
    reading = read(held_by_group(model, tensors), "x+y")
    kernels = [made.directions[0].kernel[0] for made in reading.network.layers]
    assert np.array_equal(kernels[0], ours["layers/sequential/layers/simple_rnn/cell"][0])
    assert np.array_equal(kernels[1], ours["layers/simple_rnn/cell"][0])
    assert reading.recipe.layers[0]["path"] == ["inner", "x"]
    assert read(held_by_group(model, tensors), "z").network.input_size == 4


def test_policies_that_compute_in_less_are_noted() -> None:
    policy = {"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}
    reading = read(held(sequential(rnn("a", dtype=policy)), {"a": named("a/", weights(2, 3))}), None)
    assert "computes in bfloat16" in reading.notes[0]


def test_initial_states_and_second_calls_are_noted() -> None:
    inputs: list[tuple[dict[str, Any], list[Any]]] = [(layer("InputLayer", name), []) for name in ("x", "h")]
    given = [[["x", 0, 0, {"initial_state": [["h", 0, 0]]}]], [["x", 0, 0, {}]]]
    model = functional("a", *inputs, (rnn("a"), given))
    notes = read(held(model, {"a": named("a/", weights(2, 3))}), None).notes
    assert "gets an initial state" in notes[0] and "is called 2 times" in notes[1]
