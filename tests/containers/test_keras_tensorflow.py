"""Keras models in TensorFlow's forms: layers by name, what is stated, and what is no weight."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from object_files import saved_graph, variable, write_objects
from tf_files import chunk, number

from rnnverify.canonical import Array
from rnnverify.containers import open_model
from rnnverify.containers.tf_objects import Node
from rnnverify.errors import FileError

FIXTURES = Path(__file__).parents[2] / "fixtures"
GENUINE = FIXTURES / "genuine"
WEIGHTS = ("kernel", "recurrent_kernel", "bias")


def arrays(*prefixes: str) -> dict[str, Array]:
    shapes = ((2, 3), (3, 3), (3,))
    return {
        f"{prefix}/{role}": np.ones(shape, np.float32)
        for prefix in prefixes
        for role, shape in zip(WEIGHTS, shapes, strict=True)
    }


def objects(keys: list[str], names: list[str], holders: list[Node]) -> list[Node]:
    """`holders`, then a layer with a cell for each of `keys`, whose variables are called after `names`."""
    nodes = [*holders]
    for key, name in zip(keys, names, strict=True):
        at = len(nodes)
        nodes += [Node({"cell": at + 1}), Node({role: at + 2 + k for k, role in enumerate(WEIGHTS)})]
        nodes += [variable(f"{key}/{role}", f"{name}/{role}") for role in WEIGHTS]
    return nodes


@pytest.mark.parametrize(
    ("case", "layers"),
    [
        ("tf.keras-2.1.4/rnn_bi_tfweights/weights", ["bidirectional"]),
        ("tf.keras-2.1.4/rnn_a_savedmodel/saved_model", ["simple_rnn"]),
        ("tf.keras-2.15.1/rnn_emb_tfckpt", ["embedding", "simple_rnn", "dense"]),
        ("tf.keras-2.15.1/rnn_2l_nested_tfweights", ["layer-1", "outer_rnn"]),
        ("tf.keras-2.4.4/rnn_emb_savedmodel_nt/saved_model", ["embedding", "simple_rnn", "dense"]),
        ("keras-3.15.1/rnn_a_export/exported", ["simple_rnn"]),
    ],
)
def test_genuine_layers(case: str, layers: list[str]) -> None:
    contents = open_model(GENUINE / case)
    listed = contents.metadata["layer_weights"]
    assert contents.framework == "keras" and isinstance(listed, dict)
    assert [*listed] == layers
    assert all(
        contents.tensors[name].read().shape == contents.tensors[name].shape for n in listed for name in listed[n]
    )


def test_a_saved_model_states_its_configuration_and_version() -> None:
    contents = open_model(GENUINE / "tf.keras-2.1.4/rnn_a_savedmodel/saved_model")
    model = contents.metadata["model_config"]
    assert isinstance(model, dict) and model["class_name"] == "Sequential"
    assert contents.writer == "Keras 2.3.0-tf, TensorFlow 2.1.4" and contents.path.name == "saved_model"
    assert "runs the functions in it" in str(contents.metadata["why_not"])


def test_saved_model_pb_means_its_folder() -> None:
    folder = GENUINE / "keras-3.15.1/rnn_a_export/exported"
    assert open_model(folder / "saved_model.pb").path == open_model(folder).path == folder


def test_an_export_states_the_activation_of_its_graph() -> None:
    contents = open_model(GENUINE / "keras-3.15.1/rnn_a_export/exported")
    assert contents.metadata["activation"] == "tanh" and "model_config" not in contents.metadata
    unused = contents.metadata["unused"]
    assert isinstance(unused, dict)
    assert {*unused} == {"variables/3", *(f"_all_variables/{k}" for k in range(3))}


def test_objects_that_are_no_keras_layers_stay_what_they_are() -> None:
    contents = open_model(FIXTURES / "bad/evil_savedmodel_writefile/saved_model")
    assert contents.framework == "tensorflow" and contents.metadata["is_object_graph"] is True


def test_what_is_no_weight_is_said_so(tmp_path: Path) -> None:
    slot = "m/layer_with_weights-0/cell/kernel/.OPTIMIZER_SLOT/optimizer/v"
    stored = arrays("m/layer_with_weights-0/cell") | {slot: np.ones(3, np.float32), "extra": np.ones(1, np.float32)}
    nodes = objects(["m/layer_with_weights-0/cell"], ["rnn"], [Node({"m": 1, "extra": 7}), Node({"layer-0": 2})])
    contents = open_model(write_objects(tmp_path / "c", [*nodes, variable("extra")], stored))
    assert contents.metadata["layer_weights"] == {"rnn": [f"rnn/cell/{role}" for role in WEIGHTS]}
    assert contents.metadata["unused"] == {
        slot: "state of the optimizer or the trainer",
        "extra": "not a weight of any layer",
    }


def test_two_layers_of_one_name_are_told_apart(tmp_path: Path) -> None:
    keys = ["a/cell", "b/cell"]
    nodes = objects(keys, ["rnn", "rnn"], [Node({"layer-0": 1, "layer-1": 6})])
    contents = open_model(write_objects(tmp_path / "c", nodes, arrays(*keys)))
    assert contents.metadata["layer_weights"] == {n: [f"{n}/cell/{r}" for r in WEIGHTS] for n in ("rnn", "rnn_1")}


def test_layers_that_are_attributes_have_no_order(tmp_path: Path) -> None:
    keys = ["a/cell", "b/cell"]
    nodes = objects(keys, ["low", "top"], [Node({"a": 1, "b": 6})])
    assert open_model(write_objects(tmp_path / "c", nodes, arrays(*keys))).metadata["unordered"] is True


def test_layers_of_a_subclassed_saved_model_are_described_one_by_one(tmp_path: Path) -> None:
    nodes = objects(["a/cell"], ["sub/rnn"], [Node({"a": 1})])
    config = {"name": "rnn", "units": 3, "activation": "relu"}
    said = {0: {"class_name": "Sub", "config": {}}, 1: {"class_name": "SimpleRNN", "name": "rnn", "config": config}}
    (tmp_path / "variables").mkdir()
    write_objects(tmp_path / "variables/variables", nodes, arrays("a/cell"))
    graph = saved_graph(nodes, {k: json.dumps(text) for k, text in said.items()})
    (tmp_path / "saved_model.pb").write_bytes(number(1, 1) + chunk(2, chunk(7, graph)))
    contents = open_model(tmp_path)
    model = contents.metadata["model_config"]
    assert isinstance(model, dict)
    (layer,) = model["config"]["layers"]
    assert layer == {"class_name": "SimpleRNN", "name": "rnn", "config": config, "inbound_nodes": []}
    assert contents.metadata["keras_version"] == "2"


@pytest.mark.parametrize("damage", ["text", "shape"])
def test_a_damaged_graph_of_objects_is_refused(tmp_path: Path, damage: str) -> None:
    nodes = objects(["cell"], ["rnn"], [Node({"layer-0": 1})])
    write_objects(tmp_path / "c", nodes, arrays("cell"), damage)
    with pytest.raises(FileError, match=r"c\.index: a damaged checkpoint of objects: the data of _CHECK.* are damaged"):
        open_model(tmp_path / "c")


def test_weights_that_are_announced_must_be_there_once(tmp_path: Path) -> None:
    nodes = objects(["cell"], ["rnn"], [Node({"layer-0": 1})])
    without = {key: array for key, array in arrays("cell").items() if not key.endswith("bias")}
    write_objects(tmp_path / "c", nodes, without)
    with pytest.raises(FileError, match="the weight rnn/cell/bias is announced, and not there"):
        open_model(tmp_path / "c")


def test_a_name_that_a_layer_has_already_is_kept_apart(tmp_path: Path) -> None:
    nodes = objects(["m/cell"], ["rnn"], [Node({"layer-0": 1})])
    write_objects(tmp_path / "c", nodes, arrays("m/cell") | {"rnn/cell/bias": np.zeros(3, np.float32)})
    contents = open_model(tmp_path / "c")
    assert contents.metadata["unused"] == {"rnn/cell/bias/.ATTRIBUTES/VARIABLE_VALUE": "not a weight of any layer"}
    assert contents.tensors["rnn/cell/bias"].read().all()
