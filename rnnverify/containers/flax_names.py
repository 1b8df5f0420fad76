"""Names of parameters in a Flax tree, whichever file keeps them: `params/cell/i/kernel`, `params.cell.i.kernel`.

What joins the keys of a tree differs from file to file: `/` (flax.traverse_util.flatten_dict), `.` (Orbax, nnx), or
`['params']['cell']` (jax.tree_util.keystr). An nnx.State saved as it is has `value` below each parameter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_KEY = re.compile(r"[^/.\[\]'\"]+")
_VALUE = ("value", "raw_value")


def keys_of(name: str) -> tuple[str, ...]:
    """The keys that lead to a parameter: `params.cell.i.kernel.value` to (params, cell, i, kernel)."""
    keys = tuple(_KEY.findall(name))
    return keys[:-1] if keys[-1:] and keys[-1] in _VALUE else keys


def are_of_flax(names: Iterable[str]) -> bool:
    """Whether arrays of these names are parameters of a Flax tree, which calls the matrix of a Dense its kernel.

    A Keras or TensorFlow variable that someone kept under its own name ends with `kernel` too; its reader says so.
    """
    return any(len(keys) > 1 and keys[-1] == "kernel" for keys in map(keys_of, names))


def is_msgpack(start: bytes) -> bool:
    """A map whose first key is a short text (msgpack/spec.md): what flax.serialization.to_bytes writes of a state."""
    key = start[1:2] if 0x80 < (start or b"\0")[0] < 0x90 else start[3:4] if start[:1] == b"\xde" else b""
    return bool(key) and (0xA0 <= key[0] < 0xC0 or key == b"\xd9")
