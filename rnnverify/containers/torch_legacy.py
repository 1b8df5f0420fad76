"""The form of torch.save before 1.6 (and later with `_use_new_zipfile_serialization=False`): pickles, then
raw numbers.

In a row: magic number, protocol 1001, a dict about the machine, the object, the list of storage keys, and
for each key its int64 count and its numbers, little-endian on every machine (torch/serialization.py
`_legacy_save`, torch/csrc/generic/serialization.cpp, 1.0.0 to 2.13.0).
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import IO, cast

from rnnverify.canonical import Array
from rnnverify.containers import torch_object
from rnnverify.containers.contents import Contents
from rnnverify.containers.raw_span import itemsize, read_span
from rnnverify.containers.torch_pickle import Loaded, load
from rnnverify.containers.torch_records import Storage
from rnnverify.errors import FileError, UnsupportedError, printable

_MAGIC = 0x1950A86A20F9469CFC6C
_AGAIN = "copy or download it again"


def read(path: Path) -> Contents:
    """The tensors of a legacy file; their values are read on demand.

    Raises FileError for a damaged file, UnsupportedError for a pickle that calls what is not torch's own.
    """
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise FileError(path, "the file is empty", "save the model again")
            # a map reads no more than there is, whatever length the pickle announces
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                loaded, keys, start = _pickles(path, mapped)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "check its permissions") from error
    spans = _spans(path, loaded, keys, start)

    def read_storage(storage: Storage) -> Array:
        return read_span(path, *spans[storage.key])

    return torch_object.contents(path, "PyTorch legacy", "PyTorch, in the form used before 1.6", loaded, read_storage)


def _pickles(path: Path, mapped: mmap.mmap) -> tuple[Loaded, list[str], int]:
    """The object, the storage keys in the order of their numbers, and where the numbers begin."""
    stream = cast(IO[bytes], mapped)
    if load(stream, path).value != _MAGIC:
        raise FileError(path, "is a pickle, but none that torch.save wrote", "give a file that torch.save wrote")
    protocol = load(stream, path).value
    if protocol != 1001:
        shown = printable(protocol, 20) if isinstance(protocol, int) else "unknown"
        found = f"is of the legacy protocol {shown}, not 1001"
        raise UnsupportedError(path, found, "save it again with PyTorch 1 or later")
    load(stream, path)  # the machine: its byte order does not matter, the numbers are always little-endian
    loaded = load(stream, path)
    keys = load(stream, path).value
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        raise FileError(path, "lists no storage keys behind its object", _AGAIN)
    return loaded, keys, stream.tell()


def _spans(path: Path, loaded: Loaded, keys: list[str], offset: int) -> dict[str, tuple[int, int]]:
    """Storage key to offset and size in bytes of its numbers; every announced size held against the file's."""
    spans = {}
    if set(keys) != loaded.storages.keys():
        raise FileError(path, "names other storages in its object than behind it", _AGAIN)
    for key in keys:
        storage = loaded.storages[key]
        count = int.from_bytes(read_span(path, offset, 8).tobytes(), "little", signed=True)
        size = itemsize(storage.dtype) or _OTHER_SIZES.get(storage.dtype)
        if size is None:
            raise UnsupportedError(path, f"holds numbers of type {storage.dtype}", "save the weights as float32")
        if count != storage.count:
            found = f"a storage announced with {storage.count} numbers has {count}"
            raise FileError(path, found, "it is damaged: " + _AGAIN)
        spans[key] = (offset + 8, count * size)
        offset += 8 + count * size
        if offset > path.stat().st_size:
            raise FileError(
                path,
                f"ends before the numbers that it announces, at byte {offset}",
                "it is truncated: " + _AGAIN,
            )
    return spans


_OTHER_SIZES = {"complex64": 8, "complex128": 16, "qint8": 1, "quint8": 1, "qint32": 4, "untyped": 1}
"""Bytes for one number of the types that are passed over, not read."""
