"""A state_dict kept in an `.npz` is a model file; nothing in it is unpickled, and a trace stays a trace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from rnnverify.containers import form_of, open_model
from rnnverify.errors import FileError
from rnnverify.sides import open_side, parse


def written(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]  # the stubs take every name for a keyword of its own
    return path


@pytest.mark.parametrize("prefix", ["", "encoder.rnn."])
def test_a_state_dict_is_read_as_pytorch_names_it(fixtures: Path, tmp_path: Path, prefix: str) -> None:
    arrays = load_file(fixtures / "rnn.safetensors")
    path = written(tmp_path / "m.npz", **{prefix + name: array for name, array in arrays.items()})
    contents = open_model(path)
    assert (contents.form, contents.framework) == ("npz", None)
    assert contents.tensors[prefix + "weight_ih_l0"].shape == (8, 5)
    network = open_side(parse(str(path), "A")).network
    wanted = open_side(parse(str(fixtures / "rnn.pt"), "A")).network
    assert network and wanted and network.fingerprint() == wanted.fingerprint()


def test_a_tree_of_flax_is_told_by_its_names(fixtures: Path, tmp_path: Path) -> None:
    contents = open_model(fixtures / "stacked_nnx.npz")
    assert (contents.form, contents.framework) == ("npz", "flax")
    assert contents.tensors["layers.0.cell.dense_i.kernel"].shape == (5, 6)
    path = written(tmp_path / "m.npz", weights=np.ones(2))
    with pytest.raises(FileError, match="without the arrays x and y"):
        form_of(path)


def test_big_endian_arrays_come_native(tmp_path: Path) -> None:
    path = written(tmp_path / "m.npz", weight_hh_l0=np.arange(4, dtype=">f4").reshape(2, 2))
    values = open_model(path).tensors["weight_hh_l0"].read()
    assert values.dtype.isnative and values.tolist() == [[0, 1], [2, 3]]


def test_objects_are_never_opened(tmp_path: Path) -> None:
    path = written(tmp_path / "m.npz", weight_ih_l0=np.array([print], dtype=object))
    with pytest.raises(FileError, match=r"weight_ih_l0.npy holds pickled objects, which are never opened"):
        open_model(path)


def test_a_trace_that_lacks_outputs_is_told_so(tmp_path: Path) -> None:
    path = written(tmp_path / "m.npz", x=np.zeros((1, 2, 3)))
    with pytest.raises(FileError, match="without the arrays x and y of a trace"):
        form_of(path)
