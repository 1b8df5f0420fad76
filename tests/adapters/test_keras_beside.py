"""Architectures beside weights: which are found, which fit, and what is said of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import rnn, sequential

from rnnverify.adapters.keras import beside as keras_beside
from rnnverify.adapters.keras.adapter import read
from rnnverify.adapters.reading import Reading
from rnnverify.containers import open_model

CASE = Path(__file__).parents[2] / "fixtures/genuine/keras-1.1.2/rnn_relu_json"
KERAS_0 = CASE.parents[1] / "keras-0.3.3-theano/rnn_back_weights"


def reading(folder: Path, text: Any = None, name: str = "model.json", weights: str = "weights.h5") -> Reading:
    """The genuine weights (5 features, 8 units, layer simplernn_1) with `text` beside them."""
    shutil.copy(CASE / "weights.h5", folder / weights)
    if text is not None:
        (folder / name).write_text(text if isinstance(text, str) else json.dumps(text))
    return read(open_model(folder / weights), None)


def model(**options: Any) -> dict[str, Any]:
    changed: dict[str, Any] = {"name": "simplernn_1", "units": 8, "activation": "relu"} | options
    return sequential(rnn(**changed))


def test_a_genuine_architecture_states_what_the_weights_do_not() -> None:
    found = read(open_model(CASE / "weights.h5"), None)
    assert found.activation_stated and not found.assumptions and found.network.layers[0].activation == "relu"
    assert found.notes == ("what the weights do not state is read from model.json beside them",)
    assert not found.recipe.loadable and found.recipe.why_not == "the file holds weights only"


def test_keras_0_3_lists_layers_in_another_way() -> None:
    found = read(open_model(KERAS_0 / "weights.h5"), None)
    assert found.activation_stated and found.network.layers[0].directions[0].reverse
    assert not found.network.layers[0].time_restored


@pytest.mark.parametrize(
    ("weights", "name"),
    [
        ("weights.h5", "model.json"),
        ("weights.h5", "weights.json"),
        ("weights.h5", "architecture.json"),
        ("port.weights.h5", "port.json"),
        ("port_weights.hdf5", "port.json"),
        ("port", "port.json"),
    ],
)
def test_names_under_which_it_is_found(tmp_path: Path, weights: str, name: str) -> None:
    assert reading(tmp_path, model(), name, weights).activation_stated


def test_other_names_are_not_looked_at(tmp_path: Path) -> None:
    found = reading(tmp_path, model(), "other.json")
    assert not found.activation_stated and not found.notes


@pytest.mark.parametrize(
    "text",
    [
        model(name="another"),
        model(units=7),
        model(use_bias=False),
        sequential(),
        {"modelTopology": {}},
        {"class_name": "Sequential", "config": 3},
        {"name": "Sequential", "layers": [3]},
        [],
        "{",
        "",
    ],
)
def test_one_that_does_not_fit_is_named_and_not_used(tmp_path: Path, text: Any) -> None:
    found = reading(tmp_path, text)
    assert not found.activation_stated and found.network.layers[0].activation == "tanh"
    assert found.notes == ("model.json beside the weights does not fit them, and is not used",)


def test_a_huge_one_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_beside, "_LARGEST", 20)
    assert "does not fit" in reading(tmp_path, model()).notes[0]


def test_what_it_refuses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="activation 'mine' is not one that is compared"):
        reading(tmp_path, model(activation="mine"))


def test_yaml_is_named_and_not_read(tmp_path: Path) -> None:
    found = reading(tmp_path, "class_name: Sequential", "model.yaml")
    assert found.notes == ("model.yaml beside the weights is YAML, which is not read",)


def test_weights_of_tensorflow_have_one_too(tmp_path: Path) -> None:
    shutil.copytree(CASE.parents[1] / "tf.keras-2.1.4/rnn_bi_tfweights", tmp_path, dirs_exist_ok=True)
    both = {"class_name": "Bidirectional", "config": {"name": "bidirectional", "merge_mode": "ave"}}
    both["config"]["layer"] = rnn("simple_rnn", units=6)  # type: ignore[index]  # of a dict of two kinds of values
    (tmp_path / "model.json").write_text(json.dumps(sequential(both) | {"keras_version": "2.3.0-tf"}))
    found = read(open_model(tmp_path / "weights"), None)
    assert found.activation_stated and found.network.layers[0].merge == "ave"
    assert np.array_equal(
        found.network.layers[0].directions[0].kernel[0], found.recipe.tensors[next(iter(found.roles))]
    )
