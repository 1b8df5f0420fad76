"""Keras models as graphs of objects: their layers with weights, by the names under which objects hold each other.

model                 layer-0, layer-1, ...; layer_with_weights-0, ...     keras/engine/functional.py (2.0-2.15)
model of Keras 3      _functional, _operations, 0, 1, ...                  keras/src/models/functional.py
recurrent layer       cell, kernel | recurrent_kernel | bias               keras/layers/recurrent.py
stacked cells         cell, cells, 0, 1, ..., kernel | ...
Bidirectional         forward_layer | backward_layer, cell, ...            keras/layers/wrappers.py
anything else         attributes, whatever the user called them
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_objects import Node

_MEMBER = re.compile(r"(layer|layer_with_weights)-(\d{1,6})")
_CELL_SCOPE = re.compile(r"(.*_)?cells?(_\d+)?", re.DOTALL)
_DEEPEST = 64
# what Keras keeps beside layers: lists of the same variables, traced functions, state that is no weight
_ASIDE = {"variables", "trainable_variables", "non_trainable_variables", "regularization_losses", "keras_api"}
_ASIDE |= {"layers", "metrics", "layer_metrics", "layer_regularization_losses", "state_spec", "input_spec", "states"}
_ASIDE |= {"signatures", "serve", "optimizer", "_all_variables", "_misc_assets", "_random_generator", "_tracked"}
_ASIDE |= {"_inbound_nodes", "_outbound_nodes", "_losses", "call_signature_parameters", "root"}


@dataclass(frozen=True)
class ObjectLayer:
    """A layer that has weights. `weights` is {path below the layer, such as cell/kernel: key in the checkpoint}."""

    path: tuple[str, ...]  # names of the models around it, then its own
    node: int
    weights: Mapping[str, str]
    recurrent: bool
    ordered: bool = True  # Keras models alone hold it, and they know the order of their layers


def layers_in(nodes: Sequence[Node], names: Mapping[int, str]) -> list[ObjectLayer]:
    """The layers with weights below the root, in the order in which they are held; `names` are those that are known.

    Raises `MalformedError` where objects are nested beyond reason.
    """
    return _Walk(nodes, names).below(0, "", 0)


class _Walk:
    def __init__(self, nodes: Sequence[Node], names: Mapping[int, str]) -> None:
        self._nodes, self._names = nodes, names
        self._seen: set[int] = set()

    def below(self, at: int, local: str, depth: int) -> list[ObjectLayer]:
        """The layers at or below node `at`, which its holder calls `local`; each object is met once."""
        _check_depth(depth)
        if at in self._seen:
            return []
        self._seen.add(at)
        if self._is_recurrent(at):
            return [self._layer(at, local, True)]
        members = self._members(at)
        if members is None:
            return self._attributes(at, local, depth)
        found = ((name, child, self.below(child, name, depth + 1)) for name, child in members)
        return [layer for name, child, layers in found for layer in self._inside(name, child, layers)]

    def _attributes(self, at: int, local: str, depth: int) -> list[ObjectLayer]:
        """An object with attributes: one layer where nothing in it is recurrent, else the layers that it holds."""
        groups = {name: self.below(child, name, depth + 1) for name, child in self._held(at) if not self._key(child)}
        groups = {name: layers for name, layers in groups.items() if layers}
        if at != 0 and not any(layer.recurrent for layers in groups.values() for layer in layers):
            layer = self._layer(at, local, False)
            return [layer] if layer.weights else []
        several = len(groups) > 1  # the only thing that a checkpoint holds needs no name
        children = self._nodes[at].children
        found = [(self._inside(name, children[name], each) if several else each) for name, each in groups.items()]
        return [replace(layer, ordered=layer.ordered and not several) for layers in found for layer in layers]

    def _inside(self, name: str, at: int, layers: list[ObjectLayer]) -> list[ObjectLayer]:
        """The `layers` of node `at` as its holder sees them: those of a model stand behind the model's name."""
        if not name or [layer.node for layer in layers] == [at]:
            return layers
        return [replace(layer, path=(self._names.get(at, name), *layer.path)) for layer in layers]

    def _members(self, at: int) -> list[tuple[str, int]] | None:
        """The layers of a Keras model in its order; None for what is no such model."""
        children = self._nodes[at].children
        if "_functional" in children:
            return [("", children["_functional"])]
        if "_operations" in children:
            return [*self._nodes[children["_operations"]].children.items()]
        numbered = [(match, child) for name, child in children.items() if (match := _MEMBER.fullmatch(name))]
        kind = "layer" if any(match[1] == "layer" for match, _ in numbered) else "layer_with_weights"
        members = sorted((int(match[2]), match[0], child) for match, child in numbered if match[1] == kind)
        return [(name, child) for _, name, child in members] or None

    def _is_recurrent(self, at: int) -> bool:
        children = self._nodes[at].children
        if {"forward_layer", "backward_layer"} <= set(children) or self._is_cell(at):
            return True
        inner = children.get("cell")
        return inner is not None and (self._is_cell(inner) or self._holds_cells(inner))

    def _is_cell(self, at: int) -> bool:
        children = self._nodes[at].children
        return all(name in children and self._key(children[name]) for name in ("kernel", "recurrent_kernel"))

    def _holds_cells(self, at: int) -> bool:
        cells = self._nodes[at].children.get("cells")
        return cells is not None and any(self._is_cell(child) for child in self._nodes[cells].children.values())

    def _key(self, at: int) -> str:
        return self._nodes[at].key

    def _held(self, at: int) -> list[tuple[str, int]]:
        return [(name, child) for name, child in self._nodes[at].children.items() if name not in _ASIDE]

    def _layer(self, at: int, local: str, recurrent: bool) -> ObjectLayer:
        variables = self._variables(at, "", {at}, 0)
        name = self._names.get(at) or self._noted(at, [*variables.values()]) or local or "layer"
        return ObjectLayer((name,), at, {path: self._key(child) for path, child in variables.items()}, recurrent)

    def _variables(self, at: int, prefix: str, seen: set[int], depth: int) -> dict[str, int]:
        """Every variable below `at`, by its path from where the search began."""
        _check_depth(depth)
        found: dict[str, int] = {}
        for name, child in self._held(at):
            if child in seen:
                continue
            seen.add(child)
            if self._key(child):
                found[prefix + name] = child
            else:
                found |= self._variables(child, f"{prefix}{name}/", seen, depth + 1)
        return found

    def _noted(self, at: int, variables: Sequence[int]) -> str:
        """A layer's name as its variables bear it: `rnn/simple_rnn_cell/kernel`, `rnn/kernel` up to TensorFlow 2.1."""
        scopes = next((names for v in variables if (names := self._nodes[v].full_name.split("/")[:-1])), [])
        while len(scopes) > 1 and _CELL_SCOPE.fullmatch(scopes[-1]):
            scopes.pop()
        if len(scopes) > 1 and "forward_layer" in self._nodes[at].children:
            scopes.pop()  # bidirectional/forward_simple_rnn
        return scopes[-1] if scopes else ""


def _check_depth(depth: int) -> None:
    if depth > _DEEPEST:
        raise MalformedError(f"its objects are nested more than {_DEEPEST} deep")
