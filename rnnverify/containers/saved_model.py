"""`saved_model.pb` of TensorFlow 2 and what lies beside it: what Keras says of each object. No function is ever run.

SavedModel: meta_graphs = 2; MetaGraphDef: graph_def = 2, object_graph_def = 7 (tensorflow/core/protobuf). Keras
describes its objects as JSON: in the object itself up to TensorFlow 2.4 (SavedUserObject.metadata), in
`keras_metadata.pb` from 2.5 to 2.15 (keras/protobuf/saved_metadata.proto); Keras 3 exports say nothing of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rnnverify.containers.keras_json import parse_object
from rnnverify.containers.protobuf import MalformedError, Message, parse
from rnnverify.containers.tf_objects import Node, saved_nodes
from rnnverify.errors import FileError

_LARGEST = 1 << 28  # bytes; the values of variables are elsewhere, and a genuine graph has a few million


@dataclass(frozen=True)
class SavedModel:
    """The objects of a SavedModel, what Keras says of them by number, and its graph."""

    nodes: tuple[Node, ...]
    described: Mapping[int, Mapping[str, object]]
    graph: Message


def read_saved_model(path: Path) -> SavedModel | None:
    """The SavedModel in the file `path`; None for one without objects (TensorFlow 1). Raises `FileError`."""
    try:
        graph = parse(_bytes(path)).message(2)
        objects = graph.message(7)
        if not objects.chunks:
            return None
        nodes = saved_nodes(objects)
        beside = path.with_name("keras_metadata.pb")
        texts = dict(_beside(beside) if beside.is_file() else _inside(objects))
        described = {number: parse_object(path, "Keras's description of a layer", texts[number]) for number in texts}
        return SavedModel(nodes, described, graph.message(2))
    except MalformedError as error:
        raise FileError(path, f"a damaged SavedModel: {error}", "copy or save it again") from error


def _bytes(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _LARGEST:
        raise FileError(path, f"has {size} bytes, more than a model without its weights", "save the model again")
    return path.read_bytes()


def _inside(objects: Message) -> Iterator[tuple[int, str]]:
    """SavedObject: user_object = 4, with identifier = 1, metadata = 3."""
    for number, node in enumerate(objects.messages(1)):
        user = node.message(4)
        if user.text(1).startswith("_tf_keras_") and user.chunk(3):
            yield number, user.text(3)


def _beside(path: Path) -> Iterator[tuple[int, str]]:
    """SavedMetadata: nodes = 1, with node_id = 2, identifier = 4, metadata = 5."""
    for node in parse(_bytes(path)).messages(1):
        if node.text(4).startswith("_tf_keras_") and node.chunk(5):
            yield node.number(2), node.text(5)
