"""Tensors of an ONNX file (onnx/onnx.proto, message TensorProto, onnx 1.0 to 1.23).

TensorProto: dims = 1, data_type = 2, name = 8; the values are raw_data = 9, little-endian, or one field for each kind
of number (float_data = 4, int32_data = 5, int64_data = 7, double_data = 10, uint64_data = 11), or lie in another file
(data_location = 14, external_data = 13: pairs of texts, key = 1 and value = 2). Such a file is looked for in the
folder of the model and below, and nowhere else: a name that leads out of it, by `..` or a link, is refused.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.contents import StoredTensor
from rnnverify.containers.protobuf import MalformedError, Message, signed
from rnnverify.containers.raw_span import decode, itemsize, read_span
from rnnverify.errors import FileError, printable

_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4e2m1",
}  # fmt: skip
FLOATS = ("float16", "bfloat16", "float32", "float64")

_MOST_AXES = 32
_MOST_ELEMENTS = 1 << 48
_FIELDS = {"float32": 4, "int64": 7, "float64": 10, "uint64": 11, "uint32": 11}
"""Where values lie that are not raw; the others, 16-bit floats among them as bits, in int32_data = 5."""


def dtype_name(number: int) -> str:
    """NumPy's name of a TensorProto.DataType, or ONNX's own of what NumPy lacks."""
    return _DTYPES.get(number, f"type {number}")


def dtype_number(name: str) -> int:
    """The TensorProto.DataType of that name."""
    return next(number for number, known in _DTYPES.items() if known == name)


def integers(message: Message, field: int) -> list[int]:
    """The values of a repeated int64 field, packed or not. Raises `MalformedError`."""
    packed = [int(n) for chunk in message.chunks.get(field, []) for n in _varints(chunk)]
    return [signed(n) for n in message.numbers.get(field, [])] + packed


def floats(message: Message, field: int) -> list[float]:
    """The values of a repeated float field, packed or not. Raises `MalformedError`."""
    return [float(value) for value in _fixed(message, field, "float32")]


def stored_tensor(path: Path, message: Message, name: str = "") -> StoredTensor:
    """The TensorProto `message` of the model at `path`; its values are read on demand. Raises `MalformedError`."""
    name = name or message.text(8)
    shape = tuple(integers(message, 1))
    if len(shape) > _MOST_AXES or any(size < 0 for size in shape):
        raise MalformedError(f"{printable(name)} has the shape {shape[: _MOST_AXES + 1]}")
    if math.prod(size for size in shape if size) > _MOST_ELEMENTS:
        raise MalformedError(f"{printable(name)} has the shape {shape}, more than any file holds")
    dtype = dtype_name(message.number(2))
    return StoredTensor(name, shape, dtype, partial(_read, path, message, name, shape, dtype))


def _read(path: Path, message: Message, name: str, shape: tuple[int, ...], dtype: str) -> Array:
    try:
        values = _values(path, message, name, math.prod(shape), dtype)
    except MalformedError as error:
        raise FileError(path, f"{printable(name)} is damaged: {error}", "write the model again") from error
    if values.size != math.prod(shape):
        found = f"{printable(name)} has {values.size} values for its shape {shape}"
        raise FileError(path, found, "the file is damaged: write the model again")
    return values.reshape(shape)


def _values(path: Path, message: Message, name: str, count: int, dtype: str) -> Array:
    size = itemsize(dtype)
    if size is None:
        found = f"{printable(name)} is {dtype}, which this version does not read"
        raise FileError(path, found, "store the weights as float32")
    if message.number(14) == 1:
        return decode(_external(path, message, name, count * size), dtype)
    raw = message.chunk(9)
    if len(raw):
        if len(raw) != count * size:
            raise MalformedError(f"it has {len(raw)} bytes where its shape wants {count * size}")
        return decode(np.frombuffer(raw, np.uint8), dtype)
    field = _FIELDS.get(dtype, 5)
    if field in (4, 10):
        return _fixed(message, field, dtype)
    numbers = np.array(message.numbers.get(field, []), np.uint64)
    numbers = np.concatenate([numbers, *(_varints(chunk) for chunk in message.chunks.get(field, []))])
    if dtype in ("float16", "bfloat16"):
        return decode(numbers.astype("<u2").view(np.uint8), dtype)
    return numbers.view(np.int64).astype(dtype)


def _fixed(message: Message, field: int, dtype: str) -> Array:
    kind = np.dtype(dtype).newbyteorder("<")
    parts = [bytes(chunk) for chunk in message.chunks.get(field, [])]
    if any(len(part) % kind.itemsize for part in parts):
        raise MalformedError(f"field {field} is cut off")
    single = b"".join(
        (n & (1 << 8 * kind.itemsize) - 1).to_bytes(kind.itemsize, "little") for n in message.numbers.get(field, [])
    )
    return np.frombuffer(single + b"".join(parts), kind).astype(dtype)


def _varints(chunk: memoryview) -> Array:
    """(n,) uint64: packed varints, all at once. Raises `MalformedError`."""
    if not len(chunk):
        return np.zeros(0, np.uint64)
    octets = np.frombuffer(chunk, np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    if not len(ends) or ends[-1] != len(octets) - 1:
        raise MalformedError("a number is cut off")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise MalformedError("a number is longer than 64 bits")
    values = np.zeros(len(ends), np.uint64)
    for k in range(int(lengths.max())):
        there = lengths > k
        values[there] |= (octets[starts[there] + k] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * k)
    return values


def _external(path: Path, message: Message, name: str, wanted: int) -> Array:
    """(bytes,) uint8: what lies in the file that `external_data` names."""
    entries = {entry.text(1): entry.text(2) for entry in message.messages(13)}
    location = entries.get("location", "")
    pure = PurePosixPath(location.replace("\\", "/"))
    if not location or "\0" in location or pure.is_absolute() or ".." in pure.parts or ":" in location:
        found = f"{printable(name)} lies in {printable(location) or 'no file'}, outside the folder of the model"
        raise FileError(path, found, "which is not opened: save the model with its data beside it")
    beside = path.parent / pure
    try:
        inside = beside.resolve().is_relative_to(path.parent.resolve())
        there = beside.is_file()
    except (OSError, RuntimeError):
        inside = there = False
    if there and not inside:
        found = f"{printable(name)} lies in {printable(location)}, a link that leads out of the folder of the model"
        raise FileError(path, found, "which is not opened: copy the data beside the model")
    if not there:
        found = f"keeps {printable(name)} in {printable(location)}, which is not beside it"
        raise FileError(path, found, "copy that file to the folder of the model")
    offset, length = (
        _decimal(entries.get(key, default)) for key, default in (("offset", "0"), ("length", str(wanted)))
    )
    if offset is None or length != wanted:
        stated = f"offset {printable(entries.get('offset'), 20)}, length {printable(entries.get('length'), 20)}"
        found = f"{printable(name)} needs {wanted} bytes of {printable(location)}, and the model states {stated}"
        raise FileError(path, found, "the file is damaged: write the model again")
    return read_span(beside, offset, wanted)


def _decimal(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
