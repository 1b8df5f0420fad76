"""Orbax checkpoints in each of their forms, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from rnnverify.canonical import Array
from rnnverify.containers import form_of, open_model, orbax
from rnnverify.errors import FileError, UnsupportedError

GENUINE = "genuine/flax-0.12.8/rnn_2l_orbax/orbax"


def plain(folder: Path, name: str, values: Array, **changes: object) -> Path:
    """One array as Orbax writes it without OCDBT: zarr 2 in a folder of its own, here uncompressed."""
    place = folder / name
    place.mkdir(parents=True)
    described = {
        "chunks": list(values.shape), "compressor": None, "dimension_separator": ".", "dtype": values.dtype.str,
        "fill_value": None, "filters": None, "order": "C", "shape": list(values.shape), "zarr_format": 2, **changes,
    }  # fmt: skip
    (place / ".zarray").write_text(json.dumps(described))
    (place / ".".join("0" * values.ndim)).write_bytes(values.tobytes())
    (folder / "_METADATA").write_text("{}")
    return folder


def test_a_checkpoint_is_read(fixtures: Path) -> None:
    contents = open_model(fixtures / "bidirectional_nnx")
    assert (contents.form, contents.framework) == ("Orbax checkpoint", "flax")
    assert contents.tensors["forward_rnn.cell.dense_i.kernel.value"].shape == (5, 8)
    stored = open_model(fixtures / "bidirectional.pt").tensors["weight_hh_l0"].read()
    assert np.array_equal(contents.tensors["forward_rnn.cell.dense_h.kernel.value"].read(), stored.T)
    assert len(open_model(fixtures / GENUINE).tensors) == 6


def test_without_ocdbt_every_array_has_a_folder(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    contents = open_model(plain(tmp_path / "c", "params.cell.i.kernel", values))
    (tensor,) = contents.tensors.values()
    assert (tensor.name, tensor.shape, tensor.dtype) == ("params.cell.i.kernel", (2, 3), "float32")
    assert np.array_equal(tensor.read(), values)


def test_bfloat16_comes_as_the_float32_of_equal_value(tmp_path: Path) -> None:
    stored = np.array([0x3F80, 0xC000], np.uint16)
    folder = plain(tmp_path / "c", "a.bias", stored.view(np.float16).astype(np.float32), dtype="bfloat16")
    (folder / "a.bias" / "0").write_bytes(stored.tobytes())
    tensor = open_model(folder).tensors["a.bias"]
    assert tensor.dtype == "bfloat16" and tensor.read().dtype == np.float32 and tensor.read().tolist() == [1.0, -2.0]


def test_a_manager_keeps_steps_and_items(fixtures: Path, tmp_path: Path) -> None:
    manager, step = tmp_path / "run", tmp_path / "run" / "3"
    shutil.copytree(fixtures / GENUINE, step / "default")
    (step / "_CHECKPOINT_METADATA").write_text("{}")
    for given in (manager, step, step / "default"):
        assert form_of(given) == "orbax"
        contents = open_model(given)
        assert len(contents.tensors) == 6 and contents.path == step / "default"
    shutil.copytree(step / "default", step / "other")
    with pytest.raises(FileError, match=r"is an Orbax checkpoint of 2 items; give one: .*default, .*other"):
        open_model(manager)
    shutil.copytree(step, manager / "12")
    with pytest.raises(FileError, match=r"holds 2 steps, 3 to 12; give one: .*12"):
        open_model(manager)


def test_other_folders_are_not_mistaken_for_it(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    with pytest.raises(FileError, match="is a directory with neither"):
        form_of(tmp_path)


def test_a_checkpoint_without_arrays_is_refused(tmp_path: Path) -> None:
    (tmp_path / "_CHECKPOINT_METADATA").touch()
    with pytest.raises(FileError, match="is an Orbax checkpoint without its arrays"):
        open_model(tmp_path)
    (tmp_path / "_METADATA").touch()
    with pytest.raises(FileError, match="is an Orbax checkpoint without arrays"):
        open_model(tmp_path)


@pytest.mark.parametrize("name", ["manifest.ocdbt", "d"])
def test_a_damaged_store_is_one_sentence(name: str, fixtures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(fixtures / GENUINE, folder)
    damaged = folder / name if name == "manifest.ocdbt" else next((folder / name).iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(FileError, match="cannot be read") as caught:
        open_model(folder)
    assert str(caught.value).isprintable()


def test_a_bomb_is_not_inflated(tmp_path: Path) -> None:
    folder = plain(tmp_path / "c", "a.kernel", np.ones(4, np.float32), shape=[2**40], chunks=[4], fill_value=0)
    tensor = open_model(folder).tensors["a.kernel"]
    with pytest.raises(FileError, match=r"a.kernel announces 4398046511104 bytes, in files of \d+;"):
        tensor.read()


def test_without_tensorstore_it_says_what_to_install(fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(UnsupportedError, match=r"tensorstore.*install it with: pip install 'rnnverify\[flax\]'"):
        orbax.read(fixtures / "bidirectional_nnx")
