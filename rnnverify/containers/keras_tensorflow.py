"""Keras models in TensorFlow's forms, as contents that Keras's own forms have: layers by name, each with its weights.

model.save_weights(prefix), tf.train.Checkpoint(model=model)     TensorFlow 1.13 to 2.15, tf_keras
model.save(folder)                                               SavedModels of TensorFlow 2.0 to 2.15, tf_keras
model.export(folder)                                             SavedModels of Keras 3
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.keras_objects import ObjectLayer, layers_in
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.saved_model import SavedModel
from rnnverify.containers.tf_objects import GRAPH_KEY, Node, same_objects
from rnnverify.containers.tf_recurrence import activation_in
from rnnverify.errors import printable

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_STATE = re.compile(r"(.*/)?(optimizer|\.OPTIMIZER_SLOT|keras_api|save_counter)(/.*)?", re.DOTALL)
_CELL_SCOPE = re.compile(r"(forward|backward)_.*|(.*_)?cells?(_\d+)?", re.DOTALL)

Config = Mapping[str, object]


@dataclass(frozen=True)
class _Model:
    """What is known of a model: its layers with weights, and its configuration where that is stated."""

    layers: Sequence[ObjectLayer]
    config: Config | None = None
    version: str = ""


def as_keras(contents: Contents, nodes: Sequence[Node], saved: SavedModel | None) -> Contents:
    """The checkpoint `contents` as that of a Keras model; `contents` itself where no layer is of Keras.

    `nodes` are its objects, `saved` is the SavedModel that it belongs to. Raises `MalformedError`, and `FileError` from
    the JSON that a SavedModel holds.
    """
    model = _exported(nodes) if saved and not saved.described else _model(nodes, saved)
    if not any(layer.recurrent for layer in model.layers) and not model.config:
        return contents
    tensors, listed = _weights(contents, model.layers)
    unused, taken = {}, {key for layer in model.layers for key in layer.weights.values()}
    for key, tensor in contents.tensors.items():
        if key not in taken and key != GRAPH_KEY:
            short = key.removesuffix(_VALUE)
            name = key if short in tensors else short
            tensors[name] = tensor
            unused[name] = _why_unused(short)
    metadata: dict[str, object] = {"layer_weights": listed, "unused": unused}
    if not all(layer.ordered for layer in model.layers):
        metadata["unordered"] = True
    if model.config:
        metadata["model_config"] = model.config
    if model.version:
        metadata["keras_version"] = model.version
    if saved:
        metadata["why_not"] = "to load a SavedModel, TensorFlow runs the functions in it"
        activation = activation_in(saved.graph) if not model.config else ""
        metadata |= {"activation": activation} if activation else {}
        metadata |= {"graph": contents.metadata["graph"]} if not model.config else {}  # which alone says more
    written = f"Keras {printable(model.version, 40)}, {contents.writer}" if model.version else contents.writer
    return replace(contents, framework="keras", tensors=tensors, writer=written, metadata=metadata)


def _weights(contents: Contents, layers: Sequence[ObjectLayer]) -> tuple[dict[str, StoredTensor], dict[str, list[str]]]:
    """The tensors of `layers` by their names in the model, and {outermost layer: those names}."""
    tensors: dict[str, StoredTensor] = {}
    listed: dict[str, list[str]] = {}
    for layer in layers:
        for below, key in layer.weights.items():
            name = "/".join((*layer.path, below if layer.recurrent else below.replace("/", ".")))
            if key not in contents.tensors or name in tensors:
                found = "is there twice" if name in tensors else "is announced, and not there"
                raise MalformedError(f"the weight {printable(name)} {found}")
            tensors[name] = replace(contents.tensors[key], name=name)
            listed.setdefault(layer.path[0], []).append(name)
    return tensors, listed


def _model(nodes: Sequence[Node], saved: SavedModel | None) -> _Model:
    """A model whose layers are objects; a SavedModel describes them, or a part of them."""
    if saved is None:
        return _Model(_apart(layers_in(nodes, {})))
    ours = same_objects(nodes, saved.nodes)
    described = {node: saved.described[other] for node, other in ours.items() if other in saved.described}
    names = {node: str(said["name"]) for node, said in described.items() if isinstance(said.get("name"), str)}
    layers = layers_in(nodes, names)
    root = described.get(0, {})
    version = root.get("keras_version")
    config = _configuration(root)
    if config is None:
        layers = [replace(layer, path=("/".join(layer.path),)) for layer in _apart(layers)]
        config = _unconnected(layers, described)
    return _Model(layers, config, version if isinstance(version, str) else "2")


def _configuration(root: Config) -> Config | None:
    """The configuration of a Sequential or functional model; subclassed ones have none."""
    for candidate in (root.get("model_config"), root):
        config = candidate.get("config") if isinstance(candidate, dict) else None
        if isinstance(candidate, dict) and isinstance(config, (dict, list)) and candidate.get("class_name"):
            listed = config.get("layers") if isinstance(config, dict) else config
            if isinstance(listed, list):
                return candidate
    return None


def _unconnected(layers: Sequence[ObjectLayer], described: Mapping[int, Config]) -> Config:
    """A configuration of layers that are described one by one, and whose connections nobody states."""
    listed = [
        {"class_name": said.get("class_name"), "name": layer.path[0], "config": said.get("config"), "inbound_nodes": []}
        for layer in layers
        if (said := described.get(layer.node)) is not None
    ]
    return {"class_name": "Functional", "config": {"layers": listed}}


def _exported(nodes: Sequence[Node]) -> _Model:
    """A model of Keras 3: its variables in the order of its layers, each with the path that Keras gave it."""
    root = nodes[0].children
    listed = nodes[root["variables"]].children if "variables" in root and "_all_variables" in root else {}
    weights: dict[tuple[str, ...], dict[str, str]] = {}
    for child in listed.values():
        *scopes, own = nodes[child].full_name.split("/")
        inner: list[str] = []
        while len(scopes) > 1 and _CELL_SCOPE.fullmatch(scopes[-1]):
            inner.insert(0, scopes.pop())
        if scopes and own != "seed_generator_state":
            weights.setdefault(tuple(scopes), {})["/".join([*inner, own])] = nodes[child].key
    outer = {scopes[0] for scopes in weights}
    shorter = len(outer) == 1 and all(len(scopes) > 1 for scopes in weights)  # the model's own name comes first
    layers = [
        ObjectLayer(scopes[shorter:], 0, held, any(path.endswith("recurrent_kernel") for path in held))
        for scopes, held in weights.items()
    ]
    return _Model(_apart(layers), version="3" if layers else "")


def _apart(layers: Sequence[ObjectLayer]) -> list[ObjectLayer]:
    """The layers, of which no two share the name of the outermost model and their own."""
    taken: set[tuple[str, str]] = set()
    unique = []
    for layer in layers:
        for k in count():
            path = (*layer.path[:-1], f"{layer.path[-1]}_{k}" if k else layer.path[-1])
            if (path[0], path[-1]) not in taken:
                break
        taken.add((path[0], path[-1]))
        unique.append(replace(layer, path=path))
    return unique


def _why_unused(name: str) -> str:
    if name.startswith(("variables/", "_all_variables/")):
        return "a state that is no weight, or a weight that the file holds twice"
    return "state of the optimizer or the trainer" if _STATE.fullmatch(name) else "not a weight of any layer"
