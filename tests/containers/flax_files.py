"""Files as Flax and Equinox write them, built byte by byte, so that they can also be wrong."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import numpy as np

from rnnverify.canonical import Array


def array_bytes(array: Array, dtype: str = "", shape: Sequence[int] | None = None) -> bytes:
    """What an extension of type 1 holds; `dtype` and `shape` where others are announced than the array has."""
    held = (list(array.shape if shape is None else shape), dtype or array.dtype.name, array.tobytes())
    return bytes(msgpack.packb(held, use_bin_type=True))


def extension(array: Array, dtype: str = "", shape: Sequence[int] | None = None, code: int = 1) -> Any:
    return msgpack.ExtType(code, array_bytes(array, dtype, shape))


def packed(tree: object) -> bytes:
    """`tree` of maps, lists and arrays, as flax.serialization.to_bytes writes it."""
    return bytes(msgpack.packb(_plain(tree), strict_types=True))


def _plain(tree: object) -> object:
    if isinstance(tree, np.ndarray):
        return extension(tree)
    if isinstance(tree, Mapping):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_plain(value) for value in tree]
    return tree


def leaves(arrays: Sequence[object], first_line: bytes = b"") -> bytes:
    """`arrays` as equinox.tree_serialise_leaves writes them."""
    stream = io.BytesIO()
    stream.write(first_line)
    for array in arrays:
        np.save(stream, np.asarray(array))
    return stream.getvalue()
