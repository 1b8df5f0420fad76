"""Graphs of trackable objects, and checkpoints of them, byte by byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tf_files import chunk, number, varint, write_v2

from rnnverify.canonical import Array
from rnnverify.containers.crc32c import masked_crc32c
from rnnverify.containers.tf_objects import GRAPH_KEY, Node


def variable(key: str, full_name: str = "") -> Node:
    return Node({}, f"{key}/.ATTRIBUTES/VARIABLE_VALUE", full_name or key)


def graph(nodes: Sequence[Node]) -> bytes:
    """A TrackableObjectGraph."""
    return b"".join(chunk(1, _children(node) + _attribute(node)) for node in nodes)


def saved_graph(nodes: Sequence[Node], described: dict[int, str] | None = None) -> bytes:
    """A SavedObjectGraph; `described` is what Keras says of objects, in themselves."""
    return b"".join(chunk(1, _children(node) + _kind(node, (described or {}).get(k))) for k, node in enumerate(nodes))


def _children(node: Node) -> bytes:
    return b"".join(chunk(1, number(1, child) + chunk(2, name.encode())) for name, child in node.children.items())


def _attribute(node: Node) -> bytes:
    names = chunk(1, b"VARIABLE_VALUE") + chunk(2, node.full_name.encode()) + chunk(3, node.key.encode())
    return chunk(2, names) if node.key else b""


def _kind(node: Node, said: str | None) -> bytes:
    if node.key:
        return chunk(7, chunk(6, node.full_name.encode()))
    return chunk(4, chunk(1, b"_tf_keras_layer") + chunk(3, said.encode())) if said else b""


def write_objects(prefix: Path, nodes: Sequence[Node], arrays: Mapping[str, Array], damage: str = "") -> Path:
    """A checkpoint of objects; `damage` is done to the text of its graph."""
    tensors = {f"{key}/.ATTRIBUTES/VARIABLE_VALUE": array for key, array in arrays.items()}
    data = graph(nodes)
    size = len(data).to_bytes(4, "little")
    stored = varint(len(data)) + masked_crc32c(size).to_bytes(4, "little") + data
    crc = masked_crc32c(size + stored[len(varint(len(data))) :])
    start = sum(array.nbytes for array in arrays.values())
    place = number(4, start) + number(5, len(stored)) + varint(6 << 3 | 5) + crc.to_bytes(4, "little")
    shape = chunk(2, chunk(2, number(1, 2)) if damage == "shape" else b"")
    write_v2(prefix, tensors, extra={GRAPH_KEY.encode(): number(1, 7) + shape + place})
    stored = stored[:-1] + b"?" if damage == "text" else stored
    with prefix.with_name(f"{prefix.name}.data-00000-of-00001").open("ab") as file:
        file.write(stored)
    return prefix
