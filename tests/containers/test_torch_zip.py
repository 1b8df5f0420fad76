"""The zip form of torch.save: genuine files, and ones that it never writes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from torch_files import Call, Named, Outside, tensor, write_zip

from rnnverify.containers import torch_zip
from rnnverify.errors import FileError, UnsupportedError

FIXTURES = Path(__file__).parents[2] / "fixtures"
FOUR = np.arange(4, dtype="<f4").tobytes()
ONE_TENSOR = {"weight_ih_l0": tensor("0", 4, (2, 2))}


@pytest.mark.parametrize(
    ("case", "root"),
    [
        ("torch-1.6.0/rnn_bi_sd", []),
        ("torch-2.13.0/rnn_bf16_sd", []),
        ("torch-2.13.0/rnn_nobias_sd", []),
        ("torch-2.13.0/rnn_a_ckpt_np", ["model"]),
    ],
)
def test_reads_genuine_files(case: str, root: list[str]) -> None:
    folder = FIXTURES / "genuine" / case
    stated = json.loads((folder / "case.json").read_text())
    contents = torch_zip.read(folder / stated["main_file"])
    assert contents.framework == "torch"
    assert contents.metadata["root"] == root
    prefix = "".join(f"{key}." for key in root)
    listed = {v["name"]: (tuple(v["shape"]), v["dtype"].removeprefix("torch.")) for v in stated["variables"]}
    assert {prefix + t.name: (t.shape, t.dtype) for t in contents.tensors.values()} == listed
    for stored in contents.tensors.values():
        assert stored.read().shape == stored.shape


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("bad/evil_zip_top/model.pt", "posix.system"),
    ],
)
def test_refuses_other_things_by_name(path: str, found: str) -> None:
    with pytest.raises(UnsupportedError, match=found):
        torch_zip.read(FIXTURES / path)


def test_an_optimizer_is_no_model_and_keys_that_are_not_text_are_left_aside() -> None:
    with pytest.raises(FileError, match="optimizer"):
        torch_zip.read(FIXTURES / "bad/no_rnn_optimizer_only/optimizer.pt")
    contents = torch_zip.read(FIXTURES / "bad/key_nonstring/model.pt")
    assert len(contents.tensors) == 4
    assert contents.notes == ("left aside: 2 tensor(s) under keys that are not text",)


def test_a_truncated_zip_is_one_clear_error() -> None:
    with pytest.raises(FileError, match="truncated"):
        torch_zip.read(FIXTURES / "bad/trunc_pt_98/model.pt")


@pytest.mark.parametrize("case", ["dtype_meta", "dtype_sparse", "huge_pt_sizes"])
def test_refuses_tensors_without_plain_numbers_when_they_are_read(case: str) -> None:
    contents = torch_zip.read(FIXTURES / "bad" / case / "model.pt")
    with pytest.raises(FileError, match="weight_hh_l0"):
        contents.tensors["weight_hh_l0"].read()


@pytest.mark.parametrize(("byteorder", "stored"), [(b"little", "<f4"), (b"big", ">f4"), (None, "<f4")])
def test_honours_the_byte_order(tmp_path: Path, byteorder: bytes | None, stored: str) -> None:
    data = np.arange(4, dtype=stored).tobytes()
    path = write_zip(tmp_path / "m.pt", ONE_TENSOR, {"0": data}, byteorder)
    values = torch_zip.read(path).tensors["weight_ih_l0"].read()
    assert values.dtype.isnative
    assert values.tolist() == [[0, 1], [2, 3]]


def test_refuses_an_unknown_byte_order(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="byteorder"):
        torch_zip.read(write_zip(tmp_path / "m.pt", ONE_TENSOR, {"0": FOUR}, b"middle"))


def test_refuses_compressed_members(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="compressed"):
        torch_zip.read(write_zip(tmp_path / "m.pt", ONE_TENSOR, {"0": FOUR}, deflate=True))


@pytest.mark.parametrize(("storages", "found"), [({}, "lacks the storage"), ({"0": FOUR * 2}, "need 16")])
def test_storages_must_be_there_and_of_the_announced_size(
    tmp_path: Path, storages: dict[str, bytes], found: str
) -> None:
    stored = torch_zip.read(write_zip(tmp_path / "m.pt", ONE_TENSOR, storages)).tensors["weight_ih_l0"]
    with pytest.raises(FileError, match=found):
        stored.read()


def test_a_flipped_bit_is_noticed_unless_no_checksum_was_written(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "m.pt", ONE_TENSOR, {"0": FOUR})
    data = bytearray(path.read_bytes())
    data[data.index(FOUR) + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileError, match="checksum"):
        torch_zip.read(path).tensors["weight_ih_l0"].read()
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            data = bytearray(bytes(data).replace(member.CRC.to_bytes(4, "little"), bytes(4)))
    path.write_bytes(data)
    assert torch_zip.read(path).tensors["weight_ih_l0"].read().shape == (2, 2)


def test_refuses_encrypted_and_doubled_members(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "m.pt", ONE_TENSOR, {"0": FOUR})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(UnsupportedError, match="encrypted"):
        torch_zip.read(path)
    write_zip(path, ONE_TENSOR, {"0": FOUR})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data/0", FOUR)
    with pytest.raises(FileError, match="two members of one name"):
        torch_zip.read(path)


@pytest.mark.parametrize(
    ("name", "kind"), [("a/constants.pkl", "no data.pkl"), ("model.weights.h5", "Keras"), ("a.txt", "data.pkl")]
)
def test_names_other_kinds_of_zip(tmp_path: Path, name: str, kind: str) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(FileError, match=kind):
        torch_zip.read(tmp_path / "m.pt")


def test_untyped_storages_take_their_dtype_from_each_tensor(tmp_path: Path) -> None:
    entry = Outside(("storage", Named("torch.storage", "UntypedStorage"), "0", "cpu", 16))
    arguments = (entry, 1, (2,), (2,), False, None, Named("torch", "uint16"), None)
    value = {"t": Call(Named("torch._utils", "_rebuild_tensor_v3"), arguments)}
    path = write_zip(tmp_path / "m.pt", value, {"0": np.arange(8, dtype="<u2").tobytes()})
    assert torch_zip.read(path).tensors["t"].read().tolist() == [1, 3]


def test_a_whole_module_is_read_with_what_it_states() -> None:
    contents = torch_zip.read(FIXTURES / "genuine/torch-1.12.1/rnn_a_module_tbi/model.pth")
    assert contents.metadata["layers"] == ("torch.nn.modules.rnn.RNN",)
    assert "refused_by_torch" not in contents.metadata
    modules = contents.metadata["modules"]
    assert isinstance(modules, dict)
    assert (modules[""]["mode"], modules[""]["batch_first"]) == ("RNN_TANH", False)
