"""TorchScript of PyTorch 1.0 to 2.13: genuine files, and damaged ones."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from torch_files import Call, Named, pickled, tensor

from rnnverify.containers import form_of, torch_script
from rnnverify.errors import FileError, UnsupportedError

FIXTURES = Path(__file__).parents[2] / "fixtures"
FOUR = np.arange(4, dtype="<f4").tobytes()
BASE = "model"


@pytest.mark.parametrize(
    ("case", "stated"),
    [
        ("torch-1.0.1/rnn_relu_trace", {"mode": "RNN_RELU", "num_layers": 1, "batch_first": True}),
        ("torch-1.6.0/rnn_a_trace", {"mode": "RNN_TANH", "num_layers": 1, "batch_first": True}),
        ("torch-2.13.0/rnn_2l_script", {"mode": "RNN_TANH", "num_layers": 2, "hidden_size": 6}),
        ("torch-2.13.0/rnn_relu_script", {"mode": "RNN_RELU", "nonlinearity": "relu", "input_size": 5}),
    ],
)
def test_reads_genuine_files(case: str, stated: dict[str, object]) -> None:
    folder = FIXTURES / "genuine" / case
    variables = json.loads((folder / "case.json").read_text())["variables"]
    assert form_of(folder / "model.pt") == "torch_script"
    contents = torch_script.read(folder / "model.pt")
    assert {t.name: t.read().shape for t in contents.tensors.values()} == {
        v["name"]: tuple(v["shape"]) for v in variables
    }
    modules = contents.metadata["modules"]
    assert isinstance(modules, dict)
    assert stated.items() <= modules["rnn."].items()
    assert contents.metadata["not_loaded"]


def write(path: Path, members: dict[str, bytes], deflate: str = "code/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            kind = zipfile.ZIP_DEFLATED if name.startswith(deflate) else zipfile.ZIP_STORED
            archive.writestr(f"{BASE}/{name}", data, kind)
    return path


def made(module: str, name: str, state: object) -> bytes:
    """A pickle of one object: NEWOBJ and BUILD."""
    return pickled(Named(module, name))[:-1] + b")\x81" + pickled(state)[2:-1] + b"b."


CODE = b"class RNN(Module):\n  mode : Final[str] = " + b'"RNN_RELU"\n'


def test_the_code_of_each_class_is_found_by_its_module(tmp_path: Path) -> None:
    members = {
        "data.pkl": made("__torch__.user.___torch_mangle_2", "RNN", {"weight_ih_l0": tensor("0", 4, (2, 2))}),
        "data/0": FOUR,
        "constants.pkl": pickled(()),
        "code/__torch__/user/___torch_mangle_2.py": CODE,
    }
    contents = torch_script.read(write(tmp_path / "m.pt", members))
    assert contents.metadata["modules"] == {"": {"mode": "RNN_RELU"}}
    assert contents.tensors["weight_ih_l0"].read().tolist() == [[0, 1], [2, 3]]
    without = {name: data for name, data in members.items() if not name.startswith("code/")}
    assert torch_script.read(write(tmp_path / "m.pt", without)).metadata["modules"] == {"": {}}


def test_source_text_is_bounded_and_held_against_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {
        "data.pkl": made("__torch__", "RNN", {"weight_ih_l0": tensor("0", 4, (2, 2))}),
        "data/0": FOUR,
        "constants.pkl": pickled(()),
        "code/__torch__.py": CODE,
    }
    path = write(tmp_path / "m.pt", members)
    monkeypatch.setattr(torch_script, "_MAX_CODE", 20)
    with pytest.raises(FileError, match=r"__torch__\.py has 52 bytes"):
        torch_script.read(path)
    monkeypatch.undo()
    data = bytearray(write(tmp_path / "m.pt", members, "none").read_bytes())
    data[data.index(b"RNN_RELU")] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileError, match="checksum"):
        torch_script.read(path)


def test_a_frozen_module_has_no_names_and_a_hostile_constant_is_refused(tmp_path: Path) -> None:
    frozen = {"data.pkl": made("__torch__", "Wrap", {}), "constants.pkl": pickled((tensor("0", 4, (2, 2)),))}
    with pytest.raises(UnsupportedError, match="frozen"):
        torch_script.read(write(tmp_path / "m.pt", frozen))
    hostile = frozen | {"constants.pkl": pickled(Call(Named("posix", "system"), ("touch pwned",)))}
    with pytest.raises(UnsupportedError, match=r"posix\.system"):
        torch_script.read(write(tmp_path / "m.pt", hostile))


def entry(**change: object) -> dict[str, object]:
    sizes = {"dims": ["2", "2"], "strides": ["2", "1"], "offset": "0"}
    return {**sizes, "dataType": "FLOAT", "data": {"key": "tensors/0"}, **change}


def first_form(path: Path, **change: object) -> Path:
    rnn = {"name": "rnn", "parameters": [{"name": "weight_ih_l0", "tensorId": "0"}]}
    model = {"mainModule": {"name": "m", "submodules": [rnn]}, "tensors": [entry()], **change}
    return write(path, {"model.json": json.dumps(model).encode(), "tensors/0": FOUR})


def test_the_first_form_is_read(tmp_path: Path) -> None:
    contents = torch_script.read(first_form(tmp_path / "m.pt"))
    assert contents.tensors["rnn.weight_ih_l0"].read().tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"tensors": []}, "not what PyTorch"),
        ({"tensors": [entry(dims=["-2", "2"])]}, "not what PyTorch"),
        ({"tensors": [entry(strides=["2"])]}, "not what PyTorch"),
        ({"tensors": [entry(data={"key": "../secret"})]}, "lacks ../secret"),
        ({"mainModule": []}, "not what PyTorch"),
        ({"mainModule": {"name": "m"}}, "without parameters"),
    ],
)
def test_the_first_form_is_refused_where_it_makes_no_sense(
    tmp_path: Path, change: dict[str, object], found: str
) -> None:
    with pytest.raises(FileError, match=found):
        torch_script.read(first_form(tmp_path / "m.pt", **change))


def test_a_view_beyond_its_member_is_refused_when_it_is_read(tmp_path: Path) -> None:
    huge = entry(dims=[str(1 << 40), "2"])
    stored = torch_script.read(first_form(tmp_path / "m.pt", tensors=[huge])).tensors["rnn.weight_ih_l0"]
    with pytest.raises(FileError, match="reaches number"):
        stored.read()
