"""What both generations of TensorFlow checkpoints have in common: dtypes, shapes, slices, keys of slices."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.protobuf import MalformedError, Message
from rnnverify.errors import printable

# DataType of tensorflow/core/framework/types.proto, TensorFlow 2.21, by NumPy's name where it has one
_DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    14: "bfloat16",
    15: "qint16",
    16: "quint16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
}
_STORED_AS = {"bfloat16": "uint16", "bool": "uint8"}
_NUMBER = re.compile(r"(float(16|32|64)|bfloat16|complex(64|128)|u?int(8|16|32|64)|bool)")
_MOST_AXES = 32  # as many as every NumPy has
_MOST_SLICES = 4096
_MOST_ELEMENTS = 1 << 48

Slice = tuple[tuple[int, int], ...]
"""Start and length along each axis; length -1 is the whole axis."""


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of a tensor before its values."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    slices: tuple[Slice, ...] = ()

    @property
    def stored_dtype(self) -> np.dtype[np.generic] | None:
        """How a value lies in the file, little-endian; None for what this version does not read."""
        if not _NUMBER.fullmatch(self.dtype):
            return None
        stored: np.dtype[np.generic] = np.dtype(_STORED_AS.get(self.dtype, self.dtype)).newbyteorder("<")
        return stored

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def array(self, values: Array) -> Array:
        """`values` (elements,), as stored, in native byte order and the tensor's shape."""
        if self.dtype == "bfloat16":
            widened: Array = values.astype(np.uint32) << 16
            exact: Array = widened.view(np.float32)
            return exact.reshape(self.shape)
        if self.dtype == "bool":
            truth: Array = values != 0
            return truth.reshape(self.shape)
        native: Array = values.astype(values.dtype.newbyteorder("="), copy=False)
        return native.reshape(self.shape)


def dtype_name(number: int) -> str:
    """NumPy's name of a DataType, `bfloat16`, or TensorFlow's name of what NumPy lacks."""
    return _DTYPES.get(number, f"type {number}")


def read_shape(message: Message) -> tuple[int, ...]:
    """TensorShapeProto (tensor_shape.proto): dim = 2, with size = 1; unknown_rank = 3. Raises
    `MalformedError`.
    """
    shape = tuple(dim.number(1) for dim in message.messages(2))
    if message.number(3) or len(shape) > _MOST_AXES or any(size < 0 for size in shape):
        raise MalformedError(f"a tensor has the shape {shape[: _MOST_AXES + 1]}")
    if math.prod(size for size in shape if size) > _MOST_ELEMENTS:
        raise MalformedError(f"a tensor has the shape {shape}, more than any file holds")
    return shape


def read_slices(messages: list[Message]) -> tuple[Slice, ...]:
    """TensorSliceProto (tensor_slice.proto): extent = 1, with start = 1 and length = 2 (absent: all)."""
    if len(messages) > _MOST_SLICES:
        raise MalformedError(f"a tensor has {len(messages)} slices")
    return tuple(
        tuple((axis.number(1), axis.number(2) if 2 in axis.numbers else -1) for axis in message.messages(1))
        for message in messages
    )


def slice_window(extent: Slice, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where a slice lies in its tensor of `shape`. Raises `MalformedError` where it does not fit."""
    if len(extent) != len(shape):
        raise MalformedError(f"a slice has {len(extent)} axes where its tensor has {len(shape)}")
    whole = [
        (0, size) if length == -1 else (start, length) for (start, length), size in zip(extent, shape, strict=True)
    ]
    if any(
        start < 0 or length < 0 or start + length > size for (start, length), size in zip(whole, shape, strict=True)
    ):
        raise MalformedError(f"a slice {extent} lies outside its tensor of shape {shape}")
    return tuple(slice(start, start + length) for start, length in whole)


def assemble(header: Header, parts: Iterable[tuple[Slice, Array]]) -> Array:
    """The tensor of which `parts` are the slices. Raises `MalformedError` unless they fill it."""
    whole: Array | None = None
    filled = np.zeros(header.shape, dtype=np.bool_)
    for extent, part in parts:
        window = slice_window(extent, header.shape)
        whole = np.empty(header.shape, dtype=part.dtype) if whole is None else whole
        whole[window] = part
        filled[window] = True
    if whole is None or not filled.all():
        raise MalformedError(f"the slices of {printable(header.name)} leave gaps")
    return whole


def slice_shape(extent: Slice, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one slice of a tensor of `shape`. Raises `MalformedError` where it does not fit."""
    return tuple(axis.stop - axis.start for axis in slice_window(extent, shape))


def slice_key(name: str, extent: Slice) -> bytes:
    """The key of a slice (EncodeTensorNameSlice, tensorflow/core/util/saved_tensor_slice_util.cc)."""
    escaped = name.encode().replace(b"\x00", b"\x00\xff")  # 0xff, the other byte to escape, is in no UTF-8
    numbers = [number for start_length in extent for number in start_length]
    return b"\x00" + escaped + b"\x00\x01" + _unsigned(len(extent)) + b"".join(map(_ordered, numbers))


def _unsigned(value: int) -> bytes:
    """OrderedCode::WriteNumIncreasing (tensorflow/core/lib/strings/ordered_code.cc): a length, then the
    bytes.
    """
    size = (value.bit_length() + 7) // 8
    return bytes([size]) + value.to_bytes(size, "big")


def _ordered(value: int) -> bytes:
    """OrderedCode::WriteSignedNumIncreasing: two's complement under a unary length, 7 bits to the byte."""
    size = max(value, ~value).bit_length() // 7 + 1
    marks = ((1 << size) - 1) << 7 * size
    return ((value & (1 << 8 * size) - 1) ^ marks).to_bytes(size, "big")
