"""SavedModels: what Keras says of objects, in them or beside them, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from object_files import saved_graph, variable
from tf_files import chunk, number

from rnnverify.containers import saved_model
from rnnverify.containers.saved_model import read_saved_model
from rnnverify.containers.tf_objects import Node
from rnnverify.errors import FileError

GENUINE = Path(__file__).parents[2] / "fixtures/genuine"
NODES = (Node({"layer-0": 1}), Node({"kernel": 2}), variable("kernel"))


def write(folder: Path, objects: bytes, beside: bytes = b"") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "saved_model.pb").write_bytes(number(1, 1) + chunk(2, chunk(7, objects) if objects else b""))
    if beside:
        (folder / "keras_metadata.pb").write_bytes(beside)
    return folder / "saved_model.pb"


def described(number_: int, text: bytes) -> bytes:
    return chunk(1, number(2, number_) + chunk(4, b"_tf_keras_layer") + chunk(5, text))


@pytest.mark.parametrize(
    ("case", "described"),
    [
        ("tf.keras-2.1.4/rnn_a_savedmodel/saved_model", [0, 1, 2, 8]),
        ("tf.keras-2.15.1/rnn_bi_savedmodel_nt/saved_model", [0, 1, 3, 4, 5, 7]),
        ("keras-3.15.1/rnn_a_export/exported", []),
    ],
)
def test_genuine_descriptions(case: str, described: list[int]) -> None:
    saved = read_saved_model(GENUINE / case / "saved_model.pb")
    assert saved is not None and sorted(saved.described) == described
    if described:
        assert saved.described[0]["class_name"] == "Sequential"


def test_descriptions_lie_in_objects_or_beside_them(tmp_path: Path) -> None:
    inside = read_saved_model(write(tmp_path, saved_graph(NODES, {1: '{"name": "a"}'})))
    assert inside is not None and inside.described == {1: {"name": "a"}} and len(inside.nodes) == 3
    beside = read_saved_model(write(tmp_path, saved_graph(NODES, {1: '{"name": "a"}'}), described(0, b'{"name": "b"}')))
    assert beside is not None and beside.described == {0: {"name": "b"}}


def test_a_saved_model_of_tensorflow_1_has_no_objects(tmp_path: Path) -> None:
    assert read_saved_model(write(tmp_path, b"")) is None


def test_damage_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match=r"saved_model\.pb: Keras's description of a layer is cut off or no JSON"):
        read_saved_model(write(tmp_path, saved_graph(NODES, {0: '{"name": '})))
    with pytest.raises(FileError, match="damaged SavedModel: an object holds number 5 of 1"):
        read_saved_model(write(tmp_path, saved_graph([Node({"a": 5})])))
    path = write(tmp_path, saved_graph(NODES))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(FileError, match=r"damaged SavedModel: field .* announces"):
        read_saved_model(path)
    monkeypatch.setattr(saved_model, "_LARGEST", 10)
    with pytest.raises(FileError, match="more than a model without its weights"):
        read_saved_model(path)
