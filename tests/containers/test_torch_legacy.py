"""The form of torch.save before 1.6."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from torch_files import Named, Outside, pickled, tensor, write_legacy

from rnnverify.containers import torch_legacy
from rnnverify.errors import FileError, UnsupportedError

FIXTURES = Path(__file__).parents[2] / "fixtures"
FOUR = np.arange(4, dtype="<f4").tobytes()
ONE_TENSOR = {"w": tensor("7", 4, (2, 2))}


@pytest.mark.parametrize(
    ("case", "prefixes"),
    [
        ("torch-1.0.0-py27/rnn_a_ckpt", ["state_dict."]),
        ("torch-1.0.1/rnn_a_views", [""]),
        ("torch-1.0.1/rnn_a_cell", [""]),
        ("torch-1.0.1/rnn_a_ema", ["model.", "model_ema."]),
    ],
)
def test_reads_genuine_files(case: str, prefixes: list[str]) -> None:
    folder = FIXTURES / "genuine" / case
    stated = json.loads((folder / "case.json").read_text())
    contents = torch_legacy.read(folder / stated["main_file"])
    names = [name.replace("/", ".") for name in contents.tensors]
    if len(prefixes) == 1:
        names = [prefixes[0] + name for name in names]
    assert sorted(names) == sorted(v["name"] for v in stated["variables"])
    for stored in contents.tensors.values():
        assert stored.read().shape == stored.shape


def test_transposed_views_of_one_storage_are_read_by_their_strides(tmp_path: Path) -> None:
    value = {"w": tensor("7", 6, (3, 2), (1, 3)), "row": tensor("7", 6, (2,), (3,), offset=1)}
    path = write_legacy(tmp_path / "m.pt", value, {"7": (6, np.arange(6, dtype="<f4").tobytes())})
    tensors = torch_legacy.read(path).tensors
    assert tensors["w"].read().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert tensors["row"].read().tolist() == [1, 4]


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    whole = write_legacy(tmp_path / "m.pt", ONE_TENSOR, {"7": (4, FOUR)}).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(FileError, match=r"truncated|empty|lie outside"):
            torch_legacy.read(tmp_path / "cut.pt")
    with pytest.raises(FileError, match="truncated"):
        torch_legacy.read(FIXTURES / "bad/trunc_legacy_30/model.pt")


@pytest.mark.parametrize(
    ("storages", "found"),
    [
        ({"7": (1 << 40, FOUR)}, "announced with 4 numbers has"),
        ({"7": (-4, FOUR)}, "announced with 4 numbers has -4"),
        ({"8": (4, FOUR)}, "names other storages"),
    ],
)
def test_announced_sizes_are_checked(tmp_path: Path, storages: dict[str, tuple[int, bytes]], found: str) -> None:
    with pytest.raises(FileError, match=found):
        torch_legacy.read(write_legacy(tmp_path / "m.pt", ONE_TENSOR, storages))


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("evil_setitem_chain", "builtins.__import__"),
        ("evil_torch_global_lookup", r"torch\.serialization\.os\.system"),
        ("pickle_memo_bomb", "none that torch.save wrote"),
    ],
)
def test_hostile_pickles_are_refused(case: str, found: str) -> None:
    with pytest.raises(FileError, match=found):
        torch_legacy.read(FIXTURES / "bad" / case / "model.pt")


def test_whole_modules_with_their_source_are_read() -> None:
    contents = torch_legacy.read(FIXTURES / "genuine/torch-1.0.1/rnn_emb_user_module/model.pt")
    assert contents.form == "PyTorch legacy, whole module"
    assert list(contents.tensors)[:2] == ["embedding.weight", "rnn.weight_ih_l0"]
    modules = contents.metadata["modules"]
    assert isinstance(modules, dict)
    assert (modules[""]["class"], modules["rnn."]["mode"]) == ("user_model.CharRNN", "RNN_TANH")


def test_refuses_another_protocol_and_a_view_of_a_storage(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="protocol 1000"):
        torch_legacy.read(write_legacy(tmp_path / "m.pt", ONE_TENSOR, {"7": (4, FOUR)}, protocol=1000))
    view = Outside(("storage", Named("torch", "FloatStorage"), "7", "cpu", 4, ("8", 0, 2)))
    with pytest.raises(UnsupportedError, match=r"before 0\.4"):
        torch_legacy.read(write_legacy(tmp_path / "m.pt", [view], {"7": (4, FOUR)}))
    (tmp_path / "m.pt").write_bytes(pickled({"a": 1}))
    with pytest.raises(FileError, match=r"none that torch\.save wrote"):
        torch_legacy.read(tmp_path / "m.pt")
