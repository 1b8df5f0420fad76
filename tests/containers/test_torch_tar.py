"""The tar of PyTorch before 0.2, as `legacy_load` of today's PyTorch reads it (it read what is written here)."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torch_files import Call, Named, Outside, pickled

from rnnverify.canonical import Array
from rnnverify.containers import form_of, torch_tar
from rnnverify.errors import FileError, UnsupportedError

W = np.arange(6, dtype="<f4").reshape(3, 2)


def parts(
    arrays: dict[str, Array], views: object = (), storage: str = "FloatStorage", axes: int | None = None
) -> dict[str, bytes]:
    """The members that hold `arrays`, by name."""
    storages, tensors, items = pickled(len(arrays)), pickled(len(arrays)), []
    for k, (name, array) in enumerate(arrays.items()):
        storages += pickled((1000 + k, "cpu", Named("torch", storage))) + struct.pack("<q", array.size)
        storages += array.tobytes()
        sizes = (*array.shape, *(step // array.itemsize for step in array.strides), 0)
        tensors += pickled((2000 + k, 1000 + k, Named("torch", "FloatTensor")))
        tensors += struct.pack("<ii", array.ndim if axes is None else axes, 0) + struct.pack(f"<{len(sizes)}q", *sizes)
        items.append([name, Outside(str(2000 + k))])
    held = pickled(Call(Named("collections", "OrderedDict"), (items,)))
    return {"sys_info": pickled({}), "pickle": held, "tensors": tensors, "storages": storages + pickled(list(views))}  # type: ignore[call-overload]  # any sequence


def write(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_reads_the_tensors_and_their_views(tmp_path: Path) -> None:
    path = write(tmp_path / "m.pth.tar", parts({"rnn.weight_ih_l0": W, "bias": W[0]}))
    assert form_of(path) == "torch_tar"
    contents = torch_tar.read(path)
    assert {name: t.read().tolist() for name, t in contents.tensors.items()} == {
        "rnn.weight_ih_l0": W.tolist(),
        "bias": W[0].tolist(),
    }
    assert contents.metadata["not_loaded"]


def test_another_tar_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"is a tar archive, and not the kind.*unpack it"):
        torch_tar.read(write(tmp_path / "m.tar", {"model.pt": b"x"}))


def test_every_truncation_is_one_clear_error(tmp_path: Path) -> None:
    whole = write(tmp_path / "m.tar", parts({"weight_ih_l0": W})).read_bytes()
    for length in range(0, len(whole) - 7168, 61):  # what is behind the last member fills a block
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        with pytest.raises(FileError):
            torch_tar.read(tmp_path / "cut.tar")


@pytest.mark.parametrize(
    ("members", "found"),
    [
        (parts({"w": W}, axes=-1), "damaged tar"),
        (parts({"w": W}, axes=33), "damaged tar"),
        (parts({"w": W}, views=[(1, 1000, 0, 2)]), "views of storages"),
        (parts({"w": W}, storage="QInt8Storage"), "of type qint8"),
        (parts({"w": W}, storage="Size"), "damaged tar"),
        (parts({"w": W}) | {"storages": pickled(1 << 40)}, "announces 1099511627776"),
        (parts({"w": W}) | {"storages": pickled(1) + pickled((1, "cpu", Named("torch", "FloatStorage"))) + b"\x7f" * 8},
         "more than it holds"),
        (parts({"w": W}) | {"pickle": pickled(Call(Named("posix", "system"), ("id",)))}, r"posix\.system"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path: Path, members: dict[str, bytes], found: str) -> None:
    with pytest.raises(FileError, match=found):
        torch_tar.read(write(tmp_path / "m.tar", members))


def test_views_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError):
        torch_tar.read(write(tmp_path / "m.tar", parts({"w": W}, views=[(1, 1000, 0, 2)])))
