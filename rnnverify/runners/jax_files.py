"""The arrays of a Flax or Equinox file, by the loader of its form."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np
from exchange import in_a_line, load_tensors


def read_tensors(job: dict[str, Any]) -> Any:
    """{tensor name: array} by the form's own loader, or from the arrays of the request."""
    why = job["why_not"]
    if job["loadable"]:
        try:
            tensors, how = load_file(job)
            return {name: tensors[name] for name in job["tensors"]}, how, ""
        except Exception as error:  # the loader may refuse for any reason: the file's own arrays remain
            why = in_a_line(error)
    return load_tensors(job), "", why


def load_file(job: dict[str, Any]) -> Any:
    """{name as the reader has it: array}, and by which loader."""
    path = job["path"]
    if os.path.isdir(path):
        import orbax.checkpoint

        tree = orbax.checkpoint.PyTreeCheckpointer().restore(path)
        return flattened(tree, "."), "orbax.checkpoint.PyTreeCheckpointer.restore"
    with open(path, "rb") as file:
        start = file.read(9)
    if job["framework"] == "equinox":
        return equinox_leaves(job), "equinox.tree_deserialise_leaves"
    if start[:2] == b"PK":
        return dict(np.load(path, allow_pickle=False)), "numpy.load"
    if start[8:9] == b"{":
        import safetensors.flax

        return safetensors.flax.load_file(path), "safetensors.flax.load_file"
    import flax

    with open(path, "rb") as file:
        return flattened(flax.serialization.msgpack_restore(file.read()), "/"), "flax.serialization.msgpack_restore"


def equinox_leaves(job: dict[str, Any]) -> Any:
    """The leaves up to the last one asked for: they have an order in the file, and no names."""
    import equinox

    count = 1 + max(int(name.rpartition(" ")[2]) for name in job["tensors"])
    with open(job["path"], "rb") as file:
        start = len(file.readline()) if file.read(1) == b"{" else -1
        file.seek(start + 1)
        # the tree that Equinox asks for: one with the leaves of the file
        like = [np.load(file, allow_pickle=False) for _ in range(count)]
        file.seek(start + 1)
        leaves = equinox.tree_deserialise_leaves(file, like)
    return {"leaf %d" % k: plain(leaf) for k, leaf in enumerate(leaves)}


def plain(leaf: Any) -> Any:
    """A bfloat16 is kept as two bytes of no type."""
    return leaf.view(jax.numpy.bfloat16) if leaf.dtype.kind == "V" else leaf


def flattened(tree: Any, joint: str, keys: Any = ()) -> Any:
    """The leaves of nested dicts and lists, by the keys that lead to them."""
    if isinstance(tree, (list, tuple)):
        tree = dict(enumerate(tree))
    if not isinstance(tree, dict):
        return {joint.join(keys): tree}
    return {
        name: leaf for key, value in tree.items() for name, leaf in flattened(value, joint, (*keys, str(key))).items()
    }
