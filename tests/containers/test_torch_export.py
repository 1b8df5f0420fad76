"""`.pt2` files: the genuine form, the older one, and damaged ones."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_files import tensor, write_zip

from rnnverify.containers import form_of, torch_export
from rnnverify.errors import FileError, UnsupportedError

FIXTURES = Path(__file__).parents[2] / "fixtures"
GENUINE = FIXTURES / "genuine/torch-2.13.0/rnn_2l_pt2/model.pt2"
CONFIG, GRAPH = "model/data/weights/model_weights_config.json", "model/models/model.json"


def members() -> dict[str, Any]:
    """The genuine file's: JSON taken apart, the rest as bytes."""
    with zipfile.ZipFile(GENUINE) as archive:
        found: dict[str, Any] = {name: archive.read(name) for name in archive.namelist()}
    return found | {name: json.loads(found[name]) for name in (CONFIG, GRAPH)}


def write(path: Path, changed: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in changed.items():
            archive.writestr(name, data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


def test_reads_the_genuine_file_and_what_its_graph_states() -> None:
    assert form_of(GENUINE) == "torch_export"
    contents = torch_export.read(GENUINE)
    variables = json.loads((GENUINE.parent / "case.json").read_text())["variables"]
    assert {t.name: t.read().shape for t in contents.tensors.values()} == {
        v["name"]: tuple(v["shape"]) for v in variables
    }
    facts = {"mode": "RNN_TANH", "bias": True, "num_layers": 2, "dropout": 0.0, "bidirectional": False}
    assert contents.metadata["modules"] == {"rnn.": {**facts, "batch_first": True}}
    assert contents.writer == "PyTorch 2.13.0+cpu"


def test_a_graph_states_each_kind_of_layer() -> None:
    contents = torch_export.read(FIXTURES / "mixed.pt2")
    modules = contents.metadata["modules"]
    assert isinstance(modules, dict)
    assert {prefix: stated["mode"] for prefix, stated in modules.items()} == {
        "lstm.": "LSTM",
        "gru.": "GRU",
        "rnn.": "RNN_TANH",
    }
    assert [modules[prefix]["bidirectional"] for prefix in ("lstm.", "gru.")] == [False, True]


def test_a_hostile_pickle_beside_the_weights_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"posix\.system"):
        torch_export.read(FIXTURES / "bad/evil_pt2/model.pt2")


def test_the_older_form_keeps_a_torch_file_inside(tmp_path: Path) -> None:
    state = {"rnn.weight_ih_l0": tensor("0", 4, (2, 2))}
    inner = write_zip(tmp_path / "inner.pt", state, {"0": np.arange(4, dtype="<f4").tobytes()}).read_bytes()
    old = {"version": b"5.3", "serialized_state_dict.pt": inner, "serialized_example_inputs.pt": b""}
    program = {"graph_module": members()[GRAPH]["graph_module"]}
    path = write(tmp_path / "m.pt2", {**old, "serialized_exported_program.json": program})
    assert form_of(path) == "torch_export"
    contents = torch_export.read(path)
    assert contents.tensors["rnn.weight_ih_l0"].read().tolist() == [[0, 1], [2, 3]]
    modules = contents.metadata["modules"]
    assert isinstance(modules, dict) and modules["rnn."]["mode"] == "RNN_TANH"
    with pytest.raises(UnsupportedError, match="without a state dict"):
        torch_export.read(write(tmp_path / "m.pt2", {"serialized_exported_program.json": program}))
    with pytest.raises(FileError, match=r"serialized_state_dict\.pt is no intact zip"):
        torch_export.read(write(tmp_path / "m.pt2", {**old, "serialized_state_dict.pt": inner[:-30]}))


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("use_pickle", True, "is pickled"),
        ("tensor_meta.layout", 1, "is not dense"),
        ("tensor_meta.dtype", 99, "of dtype 99"),
        ("tensor_meta.sizes", [{"as_int": 1 << 40}, {"as_int": 4}], "reaches number"),
    ],
)
def test_a_weight_of_another_kind_is_refused_when_it_is_read(
    tmp_path: Path, key: str, value: object, found: str
) -> None:
    changed = members()
    target = changed[CONFIG]["config"]["rnn.weight_ih_l0"]
    outer, _, inner = key.partition(".")
    if inner:
        target[outer][inner] = value
    else:
        target[outer] = value
    stored = torch_export.read(write(tmp_path / "m.pt2", changed)).tensors["rnn.weight_ih_l0"]
    with pytest.raises(FileError, match=found):
        stored.read()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({CONFIG: {"config": {"w": {}}}}, "list of weights"),
        ({CONFIG: b"{"}, "no sound JSON"),
        ({GRAPH: {"graph_module": {"graph": {"nodes": [{}]}}}}, "its graph"),
        ({"model/data/weights/other_weights_config.json": b"{}"}, "weights of 2 models"),
        ({"model/archive_format": None}, "no archive_format"),
        ({"model/data/weights/weight_0": None}, "lacks model/data/weights/weight_0"),
    ],
)
def test_what_makes_no_sense_is_one_clear_error(tmp_path: Path, change: dict[str, Any], found: str) -> None:
    changed = {name: data for name, data in (members() | change).items() if data is not None}
    with pytest.raises(FileError, match=found):
        torch_export.read(write(tmp_path / "m.pt2", changed))


def test_without_a_graph_nothing_is_stated(tmp_path: Path) -> None:
    changed = {name: data for name, data in members().items() if name != GRAPH}
    assert torch_export.read(write(tmp_path / "m.pt2", changed)).metadata["modules"] == {}
