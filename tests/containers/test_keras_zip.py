"""`.keras` zips: what is read in memory, and what stops the reading."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from rnnverify.containers import keras_zip
from rnnverify.errors import FileError

FIXTURES = Path(__file__).parents[2] / "fixtures"
GOOD = FIXTURES / "genuine/keras-3.15.1/rnn_bi_keras/model.keras"


def rewritten(path: Path, changes: dict[str, bytes | None], method: int = zipfile.ZIP_STORED) -> Path:
    """The good file again at `path`, with members replaced, or left out where None."""
    with zipfile.ZipFile(GOOD) as old, zipfile.ZipFile(path, "w", method) as new:
        members: dict[str, bytes | None] = {name: old.read(name) for name in old.namelist()}
        for name, data in (members | changes).items():
            if data is not None:
                new.writestr(name, data)
    return path


def test_members_become_tensors_and_statements() -> None:
    read = keras_zip.read(GOOD)
    assert (read.form, read.framework, read.writer) == ("Keras zip", "keras", "Keras 3.15.1")
    assert read.tensors["layers/bidirectional/forward_layer/cell/vars/0"].read().shape == (5, 6)
    assert isinstance(read.metadata["model_config"], dict)
    names = read.metadata["names"]
    assert isinstance(names, dict) and names["layers/bidirectional"] == "bidirectional"


def test_bfloat16_is_read_as_float32() -> None:
    tensor = keras_zip.read(FIXTURES / "genuine/keras-3.15.1/rnn_bf16/model.keras").tensors[
        "layers/simple_rnn/cell/vars/0"
    ]
    assert tensor.dtype == "bfloat16" and tensor.read().dtype == np.float32


def test_a_zip_without_config_is_read_as_weights(tmp_path: Path) -> None:
    read = keras_zip.read(rewritten(tmp_path / "m.keras", {"config.json": None, "metadata.json": None}))
    assert read.writer == "" and "model_config" not in read.metadata


def test_compressed_members_are_read(tmp_path: Path) -> None:
    assert keras_zip.read(rewritten(tmp_path / "m.keras", {}, zipfile.ZIP_DEFLATED)).tensors


@pytest.mark.parametrize(
    ("case", "phrase"),
    [
        ("keras_bitflip_zip", "Bad CRC-32"),
        ("keras_encrypted_flag", "is encrypted"),
        ("trunc_keras_inner_h5", r"model\.weights\.h5: HDF5 is truncated"),
    ],
)
def test_damaged_files_are_one_sentence(case: str, phrase: str) -> None:
    with pytest.raises(FileError, match=phrase) as caught:
        keras_zip.read(FIXTURES / "bad" / case / "model.keras")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({"model.weights.h5": None}, r"holds no model\.weights\.h5"),
        ({"model.weights.h5": b""}, "truncated or damaged"),
        ({"config.json": b"{"}, r"config\.json is cut off"),
        ({"metadata.json": b"[]"}, r"metadata\.json is no JSON object"),
    ],
)
def test_wrong_members_are_refused(tmp_path: Path, changes: dict[str, bytes | None], phrase: str) -> None:
    with pytest.raises(FileError, match=phrase):
        keras_zip.read(rewritten(tmp_path / "m.keras", changes))


def test_members_are_not_inflated_without_end(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "m.keras", {"config.json": bytes(2**25)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(FileError, match="announces 33554432 bytes"):
        keras_zip.read(path)


def test_members_that_are_there_twice_are_refused(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "m.keras", {})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("config.json", b"{}")
    with pytest.raises(FileError, match="more than once"):
        keras_zip.read(path)


@pytest.mark.parametrize("size", [0, 1, 100, 4000])
def test_cut_zips_are_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(GOOD.read_bytes()[:size])
    with pytest.raises(FileError, match="empty" if size == 0 else "truncated or damaged"):
        keras_zip.read(path)


def test_folders_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no plain file"):
        keras_zip.read(tmp_path)
    with pytest.raises(FileError, match="no such file"):
        keras_zip.read(tmp_path / "m.keras")
