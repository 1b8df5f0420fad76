"""Writes ONNX models byte by byte, so that tests can write odd and broken ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tf_files import chunk, number, varint

from rnnverify.canonical import Array
from rnnverify.containers.onnx_tensors import dtype_number

Attribute = int | float | str | bytes | Sequence[int] | Sequence[float] | Sequence[str]


def tensor(name: str, array: Array, dtype: str = "", values: bytes | None = None) -> bytes:
    """A TensorProto; `values` are its fields in place of raw_data."""
    dims = b"".join(number(1, size) for size in array.shape)
    kind = number(2, dtype_number(dtype or array.dtype.name))
    return dims + kind + chunk(8, name.encode()) + (chunk(9, array.tobytes()) if values is None else values)


def external(name: str, array: Array, **entries: Any) -> bytes:
    """A TensorProto whose values lie in another file."""
    pairs = (chunk(13, chunk(1, key.encode()) + chunk(2, str(value).encode())) for key, value in entries.items())
    return tensor(name, array, values=b"".join(pairs) + number(14, 1))


def real(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + bytes(np.float32(value).tobytes())


def attribute(name: str, value: Attribute) -> bytes:
    """An AttributeProto; bytes are those of a tensor."""
    key = chunk(1, name.encode())
    if isinstance(value, bytes):
        return key + chunk(5, value) + number(20, 4)
    if isinstance(value, str):
        return key + chunk(4, value.encode()) + number(20, 3)
    if isinstance(value, float):
        return key + real(2, value) + number(20, 1)
    if isinstance(value, int):
        return key + number(3, value) + number(20, 2)
    first = value[0] if value else 0
    if isinstance(first, str):
        return key + b"".join(chunk(9, str(each).encode()) for each in value) + number(20, 8)
    if isinstance(first, float):
        return key + b"".join(real(7, float(each)) for each in value) + number(20, 6)
    return key + b"".join(number(8, int(each)) for each in value) + number(20, 7)


def node(
    op: str, inputs: Sequence[str], outputs: Sequence[str], name: str = "", domain: str = "", **attributes: Attribute
) -> bytes:
    """A NodeProto."""
    read = b"".join(chunk(1, each.encode()) for each in inputs)
    given = b"".join(chunk(2, each.encode()) for each in outputs)
    said = b"".join(chunk(5, attribute(key, value)) for key, value in attributes.items())
    return read + given + chunk(3, name.encode()) + chunk(4, op.encode()) + said + chunk(7, domain.encode())


def value(name: str, sizes: Sequence[int] = (), dtype: int = 1) -> bytes:
    """A ValueInfoProto; a size of 0 is one that is not fixed."""
    dims = b"".join(chunk(1, number(1, size) if size else chunk(2, b"n")) for size in sizes)
    return chunk(1, name.encode()) + chunk(2, chunk(1, number(1, dtype) + chunk(2, dims)))


def graph(
    nodes: Sequence[bytes],
    constants: Sequence[bytes] = (),
    inputs: Sequence[bytes] = (),
    outputs: Sequence[bytes] = (),
) -> bytes:
    """A GraphProto."""
    return (
        b"".join(chunk(1, each) for each in nodes)
        + chunk(2, b"g")
        + b"".join(chunk(5, each) for each in constants)
        + b"".join(chunk(11, each) for each in inputs)
        + b"".join(chunk(12, each) for each in outputs)
    )


def model(inside: bytes, opset: int = 14, ir_version: int = 8, producer: str = "test", extra: bytes = b"") -> bytes:
    """A ModelProto."""
    opsets = chunk(8, chunk(1, b"") + number(2, opset))
    return number(1, ir_version) + chunk(2, producer.encode()) + chunk(7, inside) + opsets + extra


def weights(
    I: int = 3, H: int = 4, D: int = 1, op: str = "RNN", seed: int = 0, prefix: str = "", dtype: str = "float32"
) -> dict[str, Array]:
    """W, R and B of one node."""
    G = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    rng = np.random.default_rng(seed)
    shapes = {"W": (D, G * H, I), "R": (D, G * H, H), "B": (D, 2 * G * H)}
    return {prefix + name: rng.normal(0, 0.4, size).astype(dtype) for name, size in shapes.items()}


def recurrent(
    arrays: Mapping[str, Array], *before: bytes, op: str = "RNN", opset: int = 14, name: str = "rnn", **attributes: Any
) -> bytes:
    """A model of one recurrent node over W, R and B, or whatever `inputs` names; `before` are nodes that come first."""
    inputs = attributes.pop("inputs", ["X", "W", "R", "B"])
    outputs = attributes.pop("outputs", ["Y", "Y_h"])
    one = node(op, inputs, outputs, name, **attributes)
    constants = [tensor(key, array) for key, array in arrays.items()]
    I = next(iter(arrays.values())).shape[-1]
    return model(graph([*before, one], constants, [value("X", (0, 0, I))], [value("Y")]), opset)
