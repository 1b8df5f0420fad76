"""MessagePack as Flax writes it: a tree of maps, whose leaves are arrays.

An array is an extension of type 1, holding (shape, dtype's name, numbers in row-major order) as MessagePack again; one
beyond 2^30 bytes is a map with the key `__msgpack_chunked_array__`, its `shape`, and its `chunks` as flat arrays, both
as maps from "0", "1", ... (flax/serialization.py, 0.12.8). The msgpack library takes the bytes apart; it makes plain
values only, and the number of values is bounded here, as one byte can become an object of a hundred.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgpack
import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.raw_span import decode, itemsize
from rnnverify.errors import FileError, printable

_ARRAY, _SCALAR = 1, 3
_CHUNKED = "__msgpack_chunked_array__"
_MOST = 1 << 20  # values in maps and lists; a model has some hundreds
_HEAD = 512  # bytes; shape and dtype of an array take less
_DAMAGED = (ValueError, TypeError, OverflowError)  # what msgpack's own errors are
_AGAIN = "copy it again, or write it again with flax.serialization.to_bytes"


@dataclass(frozen=True)
class _Numbers:
    """One array of the file, its numbers still as bytes."""

    shape: tuple[int, ...]
    dtype: str
    data: memoryview

    def read(self) -> Array:
        return decode(np.frombuffer(self.data, np.uint8), self.dtype).reshape(self.shape)


def read(path: Path) -> Contents:
    """The arrays of a Flax file, under the keys that lead to them, joined by `/`. Other leaves are left out.

    Raises FileError where the bytes are not what Flax writes.
    """
    tensors: dict[str, StoredTensor] = {}
    for name, leaf in _leaves(path, _tree(path), ()):
        if name in tensors:
            raise FileError(path, f"holds two arrays under {printable(name)}", _AGAIN)
        tensors[name] = leaf
    return Contents(path, "Flax msgpack", "flax", tensors, writer="Flax")


def _tree(path: Path) -> object:
    count = 0

    def counted(values: list[object]) -> list[object]:
        nonlocal count
        count += len(values) + 1
        if count > _MOST:
            raise ValueError(f"more than {_MOST} values")
        return values

    def as_map(pairs: list[tuple[object, object]]) -> dict[object, object]:
        return dict(counted(pairs))  # type: ignore[arg-type]

    def extension(code: int, data: bytes) -> object:
        return _numbers(data) if code in (_ARRAY, _SCALAR) else None

    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return msgpack.unpackb(
                data,
                object_pairs_hook=as_map,
                list_hook=counted,
                ext_hook=extension,
                strict_map_key=False,
                max_array_len=_MOST,
                max_map_len=_MOST,
            )
    except _DAMAGED as error:
        raise FileError(path, f"is no intact MessagePack of Flax ({_why(error)})", _AGAIN) from error


def _why(error: Exception) -> str:
    return printable(error, 100) or type(error).__name__


def _numbers(data: bytes) -> _Numbers:
    """The array in the bytes of an extension. Raises ValueError where they hold none."""
    head = msgpack.Unpacker(raw=False, max_buffer_size=_HEAD)
    head.feed(data[:_HEAD])
    try:
        parts = head.read_array_header()
        shape, dtype = head.unpack(), head.unpack()
        start = head.tell()
    except msgpack.OutOfData as error:
        raise ValueError("an array without its shape") from error
    kind = data[start : start + 1]
    width = {b"\xc4": 1, b"\xc5": 2, b"\xc6": 4}.get(kind, 0)  # bin 8, 16 and 32: a length, and so many bytes
    sound = isinstance(shape, list) and len(shape) <= 32 and all(type(n) is int and 0 <= n < 1 << 63 for n in shape)
    size = itemsize(dtype) if isinstance(dtype, str) else None
    if parts != 3 or not width or not sound or size is None:
        raise ValueError(f"an array of shape {shape} and dtype {dtype}")
    numbers = memoryview(data)[start + 1 + width :]
    announced = int.from_bytes(data[start + 1 : start + 1 + width], "big")
    if not announced == len(numbers) == math.prod(shape) * size:
        raise ValueError(f"an array of shape {shape} and dtype {dtype} in {len(numbers)} bytes")
    return _Numbers(tuple(shape), dtype, numbers)


def _leaves(path: Path, value: object, keys: tuple[str, ...]) -> Iterator[tuple[str, StoredTensor]]:
    """Every array below `value`, and the keys that lead to it."""
    name = "/".join(keys)
    if isinstance(value, _Numbers):
        yield name, StoredTensor(name, value.shape, value.dtype, value.read)
    elif isinstance(value, Mapping) and _CHUNKED in value:
        yield name, _joined(path, name, value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(path, inner, (*keys, str(key)))
    elif isinstance(value, list):
        for k, inner in enumerate(value):
            yield from _leaves(path, inner, (*keys, str(k)))


def _joined(path: Path, name: str, value: Mapping[object, object]) -> StoredTensor:
    """An array that is kept in chunks."""
    shape, chunks = _numbered(value.get("shape")), _numbered(value.get("chunks"))
    parts = [chunk for chunk in chunks if isinstance(chunk, _Numbers)]
    sizes = [n for n in shape if type(n) is int and n >= 0]
    sound = parts and len(parts) == len(chunks) and len(sizes) == len(shape) <= 32
    if (
        not sound
        or len({part.dtype for part in parts}) != 1
        or math.prod(sizes) != sum(math.prod(part.shape) for part in parts)
    ):
        raise FileError(path, f"{printable(name)} is kept in chunks that do not make up an array", _AGAIN)

    def read() -> Array:
        return np.concatenate([part.read().reshape(-1) for part in parts]).reshape(sizes)

    return StoredTensor(name, tuple(sizes), parts[0].dtype, read)


def _numbered(value: object) -> list[object]:
    """The values of a map from "0", "1", ... in that order; empty where it is none."""
    if not isinstance(value, Mapping):
        return []
    return [value[str(k)] for k in range(len(value)) if str(k) in value]
