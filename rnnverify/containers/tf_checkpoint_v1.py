"""TensorFlow checkpoints of generation V1, TensorFlow 0.5 to 2.21: one file, a sorted table of
SavedTensorSlices.

Under the empty key the table lists every tensor with its slices; each slice lies under a coded key as a
TensorProto (tensorflow/core/util/saved_tensor_slice.proto, tensorflow/core/framework/tensor.proto).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.contents import StoredTensor
from rnnverify.containers.protobuf import MalformedError, Message, parse, read_varint, signed
from rnnverify.containers.tf_table import Table
from rnnverify.containers.tf_tensors import (
    Header,
    Slice,
    assemble,
    dtype_name,
    read_shape,
    read_slices,
    slice_key,
    slice_shape,
)
from rnnverify.errors import FileError, UnsupportedError, printable

_COPY = "save or copy the checkpoint again"
_PACKED = {"float32": 5, "float64": 6}  # TensorProto's fields whose numbers lie as they are
_VARINTS = {  # and those of varints; a float16 is its 16 bits
    "float16": 13,
    "int32": 7,
    "int16": 7,
    "int8": 7,
    "uint8": 7,
    "uint16": 7,
    "int64": 10,
    "bool": 11,
}
NUMBERS = {*_PACKED, *_VARINTS}
"""The dtypes that `numbers` reads."""


def read_tensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of the V1 checkpoint `path`, by name. Raises `FileError` where it is cut off or damaged."""
    table = Table(path)
    try:
        start = table.get(b"")
        if start is None:
            raise MalformedError("its list of tensors is missing")
        headers = [_header(tensor) for tensor in parse(start).message(1).messages(1)]
        room = path.stat().st_size
        for header in headers:
            # a varint may be shorter than the number that it stands for, down to one byte
            if header.stored_dtype is not None and header.elements > room:
                raise MalformedError(f"{printable(header.name)} is larger than the file")
    except MalformedError as error:
        raise FileError(path, f"a damaged checkpoint: {error}", _COPY) from error
    return {h.name: StoredTensor(h.name, h.shape, h.dtype, partial(_values, path, table, h)) for h in headers}


def _header(tensor: Message) -> Header:
    """SavedSliceMeta: name = 1, shape = 2, type = 3, slice = 4."""
    shape = read_shape(tensor.message(2))
    slices = read_slices(tensor.messages(4))
    return Header(tensor.text(1), dtype_name(tensor.number(3)), shape, slices)


def _values(path: Path, table: Table, header: Header) -> Array:
    if header.dtype not in NUMBERS:
        found = f"{printable(header.name)} is {header.dtype}, which this version does not read"
        raise UnsupportedError(path, found, "weights are floating-point numbers")
    try:
        return assemble(header, ((extent, _slice(table, header, extent)) for extent in header.slices))
    except MalformedError as error:
        raise FileError(path, f"a damaged checkpoint: {error}", _COPY) from error


def _slice(table: Table, header: Header, extent: Slice) -> Array:
    """SavedTensorSlices: data = 2. SavedSlice: name = 1, slice = 2, data = 3."""
    part = Header(header.name, header.dtype, slice_shape(extent, header.shape))
    found = table.get(slice_key(header.name, extent))
    if found is None:
        raise MalformedError(f"a slice of {printable(header.name)} is missing")
    saved = parse(found).message(2)
    if saved.text(1) != header.name:
        raise MalformedError(f"a slice of {printable(header.name)} carries the name {printable(saved.text(1))}")
    values = numbers(part, saved.message(3))
    if values.size != part.elements:
        raise MalformedError(f"{printable(header.name)} has {values.size} values, its shape {part.shape} more or less")
    return part.array(values)


def numbers(header: Header, tensor: Message) -> Array:
    """The values of a TensorProto, from the field that its dtype has there. Raises `MalformedError`."""
    if field := _PACKED.get(header.dtype):
        content, dtype = tensor.chunk(field), np.dtype(header.dtype).newbyteorder("<")
        if len(content) % dtype.itemsize:
            raise MalformedError(f"{printable(header.name)} has {len(content)} bytes of values")
        return np.frombuffer(content, dtype=dtype)
    packed, at = tensor.chunk(_VARINTS[header.dtype]), 0
    integers = []
    while at < len(packed):
        number, at = read_varint(packed, at)
        integers.append(signed(number))
    values = np.array(integers, dtype=np.int64)
    return values.astype(np.uint16).view(np.float16) if header.dtype == "float16" else values.astype(header.dtype)
