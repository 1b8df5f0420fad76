"""What attributes announce is counted as HDF5 counts it, and never taken for granted."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.containers.hdf5 import read
from rnnverify.containers.hdf5_texts import announced, superblock
from rnnverify.errors import FileError

TEXTS = {"backend": "tensorflow", "keras_version": "2.4.0", "model_config": "{" + "é" * 3000 + "}"}


def address(path: Path, name: str = "/") -> int:
    with h5py.File(path) as file:
        return int(h5py.h5o.get_info(file[name].id).addr)


@pytest.mark.parametrize("options", [{}, {"libver": "latest"}, {"userblock_size": 1024}, {"track_order": True}])
def test_texts_of_variable_length_are_counted(options: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", **options) as file:
        file.attrs.update(TEXTS)
        file.create_group("g").attrs["number"] = 3
        file["g"].attrs["fixed"] = np.bytes_(b"four")
        file["g"].attrs["names"] = ["a", "bcd"]
    data = path.read_bytes()
    assert announced(data, address(path)) == sum(len(text.encode()) for text in TEXTS.values())
    assert announced(data, address(path, "g")) == 4


def test_attributes_outside_of_the_header_are_not_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs.update({f"attribute {k}": "text" for k in range(9)})
        file["kernel"] = [1.0]
    assert announced(path.read_bytes(), address(path)) == -1
    with pytest.raises(FileError, match="keeps attributes in a way that Keras never does"):
        read(path)


def test_more_text_than_the_file_holds_is_refused(fixtures: Path) -> None:
    path = fixtures / "bad" / "text_announced.h5"
    assert announced(path.read_bytes(), address(path)) > 2**31
    with pytest.raises(FileError, match=r"announce \d+ bytes of text"):
        read(path)


@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"OHDR\2", b"\1\0\5\0"]), at=st.integers(0, 300))
def test_damaged_headers_are_no_trouble(data: bytes, start: bytes, at: int) -> None:
    assert announced(start + data, at) >= -1


def test_where_numbers_count_from(fixtures: Path) -> None:
    whole = (fixtures / "simple_rnn.h5").read_bytes()
    assert superblock(whole) == (0, 8, 8)
    assert superblock(bytes(512) + whole) == (512, 8, 8)
    assert superblock(whole[:13] + b"\4\2" + whole[15:]) == (0, 4, 2)
    assert superblock(b"no HDF5") == (0, 8, 8)
