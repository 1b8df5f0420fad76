"""Equinox leaves: .npy after .npy, a line before them, and nothing unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flax_files import leaves

from rnnverify.containers import form_of, open_model
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError


def opened(folder: Path, data: bytes) -> Contents:
    (folder / "model.eqx").write_bytes(data)
    return open_model(folder / "model.eqx")


def test_files_of_equinox_are_read(fixtures: Path) -> None:
    contents = open_model(fixtures / "gru.eqx")
    assert (contents.form, contents.framework) == ("Equinox leaves", "equinox")
    assert [tensor.shape for tensor in contents.tensors.values()] == [(24, 5), (24, 8), (24,), (8,)]
    contents = open_model(fixtures / "lstm.eqx")
    assert contents.notes == ("the first line, hyperparameters, is not read",)
    shapes = {name: tensor.shape for name, tensor in contents.tensors.items()}
    assert shapes == {
        "leaf 0": (32, 5), "leaf 1": (32, 8), "leaf 2": (32,), "leaf 3": (2, 8), "leaf 4": (2,), "leaf 5": (),
    }  # fmt: skip
    assert contents.tensors["leaf 5"].read() == 3


def test_every_kind_of_leaf(tmp_path: Path) -> None:
    half = np.array([0x3F80, 0xC000], np.uint16).view("V2")
    turned = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    tensors = opened(tmp_path, leaves([half, turned, np.zeros((0, 3)), True, 1.5])).tensors
    assert [tensor.dtype for tensor in tensors.values()] == ["bfloat16", "float64", "float64", "bool", "float64"]
    assert tensors["leaf 0"].read().tolist() == [1.0, -2.0]
    assert np.array_equal(tensors["leaf 1"].read(), turned) and tensors["leaf 2"].shape == (0, 3)


def test_a_long_first_line_needs_the_suffix(tmp_path: Path) -> None:
    data = leaves([np.ones(2)], b'{"a": "' + b"b" * 600 + b'"}\n')
    assert len(opened(tmp_path, data).tensors) == 1
    (tmp_path / "model").write_bytes(data)
    with pytest.raises(FileError):
        form_of(tmp_path / "model")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (leaves([np.ones(2), np.ones(3)])[:-1], "array 1 announces 24 bytes, and 23 are there"),
        (leaves([np.ones(2)]) + b"more", "array 1 is no readable .npy array"),
        (b'{"a": 1}\n', "array 0 is no readable .npy array"),
        (b'{"a": 1}', "has a first line without an end"),
        (leaves([np.array([print], dtype=object)]), "array 0 holds pickled objects, which are never opened"),
    ],
)
def test_what_equinox_does_not_write_is_refused(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=words) as caught:
        opened(tmp_path, data)
    assert str(caught.value).isprintable()
