"""safetensors in several files: nothing outside the folder, nothing unannounced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from rnnverify.containers import form_of, safetensors_index
from rnnverify.errors import FileError

INDEX = "model.safetensors.index.json"
A, B = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(4, np.float32)
MAP = {"a": "one.safetensors", "b": "two.safetensors"}


def write(folder: Path, weight_map: Any = MAP, size: object = 40) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({"a": A}, folder / "one.safetensors")
    save_file({"b": B}, folder / "two.safetensors")
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": weight_map}))
    return folder / INDEX


def test_reads_by_the_index_or_its_folder(tmp_path: Path) -> None:
    path = write(tmp_path)
    for given in (path, tmp_path):
        assert form_of(given) == "safetensors_index"
        contents = safetensors_index.read(given)
        assert {name: t.read().tolist() for name, t in contents.tensors.items()} == {"a": A.tolist(), "b": B.tolist()}
        assert contents.metadata["files"] == [str(tmp_path / name) for name in MAP.values()]


def test_tensors_that_are_not_listed_are_named_as_left_aside(tmp_path: Path) -> None:
    contents = safetensors_index.read(write(tmp_path, MAP, 40))
    assert contents.notes == ()
    save_file({"b": B, "c": B}, tmp_path / "two.safetensors")
    assert safetensors_index.read(tmp_path / INDEX).notes == ("left aside: 1 tensor(s) that the index does not list",)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("../one.safetensors", "no plain name"),
        ("/etc/passwd", "no plain name"),
        ("sub/one.safetensors", "no plain name"),
        ("..", "no plain name"),
        ("", "no plain name"),
        ("none.safetensors", "not there"),
        ("two.safetensors", "which lacks it"),
    ],
)
def test_files_elsewhere_and_missing_ones_are_refused(tmp_path: Path, name: str, found: str) -> None:
    with pytest.raises(FileError, match=found):
        safetensors_index.read(write(tmp_path, {"a": name}))


def test_a_link_to_another_folder_is_refused_and_a_cache_of_links_is_read(tmp_path: Path) -> None:
    blobs = write(tmp_path / "blobs").parent
    cache = tmp_path / "snapshot"
    cache.mkdir()
    for name in MAP.values():
        (cache / name).symlink_to(blobs / name)
    (cache / INDEX).write_text((blobs / INDEX).read_text())
    with pytest.raises(FileError, match="a link to another folder"):
        safetensors_index.read(cache)
    (cache / INDEX).unlink()
    (cache / INDEX).symlink_to(blobs / INDEX)
    assert set(safetensors_index.read(cache).tensors) == {"a", "b"}
    (cache / "one.safetensors").unlink()
    (cache / "one.safetensors").symlink_to(cache / "one.safetensors")
    with pytest.raises(FileError, match="not there"):
        safetensors_index.read(cache)


def test_the_announced_size_is_held_against_the_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="announces 44 bytes of tensors, but its files hold 40"):
        safetensors_index.read(write(tmp_path, size=44))
    assert len(safetensors_index.read(write(tmp_path, size=None)).tensors) == 2


@pytest.mark.parametrize("weight_map", [None, [], {}, {"a": 1}, "x"])
def test_an_index_that_is_none_is_refused(tmp_path: Path, weight_map: object) -> None:
    with pytest.raises(FileError, match="no sound index"):
        safetensors_index.read(write(tmp_path, weight_map))


def test_a_folder_with_two_indices_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "other.safetensors.index.json").write_text("{}")
    with pytest.raises(FileError, match="holds 2 indices"):
        safetensors_index.read(tmp_path)


def test_the_number_of_files_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="names 1001 files"):
        safetensors_index.read(write(tmp_path, {str(k): f"{k}.safetensors" for k in range(1001)}))
