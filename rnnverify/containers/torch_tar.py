"""The tar that torch.save wrote before PyTorch 0.2: members `storages`, `tensors` and `pickle` (and `sys_info`).

`storages` begins with their pickled number; for each follow its pickled (key, location, class), an int64 count, and its
numbers; then comes a pickled list of views (key, root key, offset, count). `tensors` is built alike: (key, storage key,
class), int32 axes and four unused bytes, int64 sizes, strides and offset. The object in `pickle` refers to tensors by
their keys as text (`legacy_load` in torch/serialization.py, 1.0.0 to 2.13.0, still reads it). Nothing is unpacked.
"""

from __future__ import annotations

import mmap
import struct
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

from rnnverify.canonical import Array
from rnnverify.containers import torch_object
from rnnverify.containers.contents import Contents
from rnnverify.containers.raw_span import itemsize, read_span
from rnnverify.containers.torch_pickle import load
from rnnverify.containers.torch_records import MalformedError, Storage, Tensor, storage_dtype
from rnnverify.errors import FileError, UnsupportedError, printable

_MEMBERS = ("storages", "tensors", "pickle")
_MOST = 1_000_000  # storages or tensors
_AGAIN = "copy or download it again"


def read(path: Path) -> Contents:
    """The tensors of such a tar; values are read on demand. Raises FileError for any other tar, and a damaged one."""
    try:
        with tarfile.open(path, "r:") as archive:
            members = {m.name: m for m in archive if m.isreg() and m.name in _MEMBERS}
        if len(members) < len(_MEMBERS):
            found = "is a tar archive, and not the kind that torch.save wrote before PyTorch 0.2"
            raise FileError(path, found, "unpack it, and give the model file that is inside")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            stream = cast(IO[bytes], mapped)
            stream.seek(members["storages"].offset_data)
            storages, spans = _storages(path, stream)
            stream.seek(members["tensors"].offset_data)
            tensors = _tensors(path, stream, storages)
            stream.seek(members["pickle"].offset_data)
            loaded = load(stream, path, tensors)
    except (tarfile.TarError, MalformedError, struct.error, EOFError) as error:
        raise FileError(path, "is a damaged tar archive of torch.save before PyTorch 0.2", _AGAIN) from error

    def read_storage(storage: Storage) -> Array:
        return read_span(path, *spans[storage.key])

    contents = torch_object.contents(path, "PyTorch tar", "PyTorch before 0.2", loaded, read_storage)
    reason = "torch.load reads a tar by unpickling alone"
    return replace(contents, metadata={**contents.metadata, "not_loaded": reason})


def _storages(path: Path, stream: IO[bytes]) -> tuple[dict[str, Storage], dict[str, tuple[int, int]]]:
    """Storages by key, and where the numbers of each lie: offset and size in bytes."""
    storages: dict[str, Storage] = {}
    spans: dict[str, tuple[int, int]] = {}
    for _ in range(_count(path, stream)):
        key, _, kind = _three(path, stream)
        dtype = storage_dtype(kind)
        (count,) = struct.unpack("<q", stream.read(8))
        size = itemsize(dtype)
        if size is None:
            raise UnsupportedError(path, f"holds numbers of type {dtype}", "save the weights as float32")
        if count < 0 or stream.tell() + count * size > path.stat().st_size:
            raise FileError(path, f"announces {count} numbers, more than it holds", "it is truncated: " + _AGAIN)
        storages[key], spans[key] = Storage(key, dtype, count), (stream.tell(), count * size)
        stream.seek(count * size, 1)
    views = load(stream, path).value
    if views != []:
        raise UnsupportedError(path, "holds views of storages", "save the weights alone: model.state_dict()")
    return storages, spans


def _tensors(path: Path, stream: IO[bytes], storages: dict[str, Storage]) -> dict[str, Tensor]:
    tensors = {}
    for _ in range(_count(path, stream)):
        key, storage_key, _ = _three(path, stream)
        (axes, _) = struct.unpack("<ii", stream.read(8))
        if not 0 <= axes <= 32 or str(storage_key) not in storages:
            raise MalformedError("describes a tensor on no storage")
        numbers = struct.unpack(f"<{2 * axes + 1}q", stream.read(8 * (2 * axes + 1)))
        if min(numbers) < 0:
            raise MalformedError("gives a tensor a negative size")
        storage = storages[str(storage_key)]
        tensors[key] = Tensor(storage.dtype, numbers[:axes], numbers[axes:-1], numbers[-1], storage)
    return tensors


def _count(path: Path, stream: IO[bytes]) -> int:
    count = load(stream, path).value
    if type(count) is not int or not 0 <= count <= _MOST:
        raise FileError(path, f"announces {printable(count, 20)} storages or tensors", _AGAIN)
    return count


def _three(path: Path, stream: IO[bytes]) -> tuple[str, object, object]:
    """A pickled (key, place, class); keys are memory addresses, and the object names them as text."""
    entry = load(stream, path).value
    if not isinstance(entry, tuple) or len(entry) != 3 or type(entry[0]) not in (int, str):
        raise MalformedError("describes no storage or tensor")
    return str(entry[0]), entry[1], entry[2]
