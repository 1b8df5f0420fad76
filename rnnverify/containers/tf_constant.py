"""The constants of a TensorFlow graph (tensorflow/core/framework/tensor.proto, TensorFlow 0.12 to 2.21).

TensorProto: dtype = 1, tensor_shape = 2, tensor_content = 4 with the values as they lie in memory, little-endian, or
one field for each kind of number. Where these fields hold fewer values than the shape wants, the last one repeats, and
where they hold none, all are 0 (FromProtoField in tensorflow/core/framework/tensor.cc): Grappler writes zeros so.
"""

from __future__ import annotations

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_checkpoint_v1 import NUMBERS, numbers
from rnnverify.containers.tf_graph import Node
from rnnverify.containers.tf_tensors import Header, dtype_name, read_shape
from rnnverify.errors import printable

_MOST_FILLED = 1 << 24  # elements: a constant may announce any number of repeated values


def constant_header(node: Node) -> Header:
    """Name, dtype and shape of the Const `node`. Raises `MalformedError`."""
    tensor = node.attribute("value").message(8)
    return Header(node.name, dtype_name(tensor.number(1)), read_shape(tensor.message(2)))


def constant(node: Node) -> Array:
    """The values of the Const `node`, in its own shape. Raises `MalformedError` for no numbers, or damaged ones."""
    tensor, header = node.attribute("value").message(8), constant_header(node)
    content, dtype = tensor.chunk(4), header.stored_dtype
    if dtype is None or (header.dtype not in NUMBERS and not content):
        raise MalformedError(f"{printable(node.name)} is {header.dtype}, which this version does not read")
    if content:
        if len(content) != header.elements * dtype.itemsize:
            raise MalformedError(f"{printable(node.name)} has {len(content)} bytes for its shape {header.shape}")
        return header.array(np.frombuffer(content, dtype=dtype))
    values = numbers(header, tensor)
    if len(values) != header.elements:
        if not len(values) < header.elements <= _MOST_FILLED:
            raise MalformedError(f"{printable(node.name)} has {len(values)} values for its shape {header.shape}")
        last = values[-1:] if len(values) else np.zeros(1, values.dtype)
        values = np.concatenate([values, np.repeat(last, header.elements - len(values))])
    return header.array(values)
