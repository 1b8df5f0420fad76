"""Weights without a configuration: layers told by the names and shapes of their tensors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, permutations

from rnnverify.adapters.keras.cells import Cell
from rnnverify.adapters.keras.config import Address
from rnnverify.adapters.keras.graph import formula_of
from rnnverify.adapters.keras.layers import KerasLayer
from rnnverify.adapters.keras.listed import Listed, layers_in
from rnnverify.adapters.keras.names import CellNames
from rnnverify.adapters.keras.parts import Stack, Survey, chains
from rnnverify.adapters.keras.told import by_shapes, gates_in
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, UnsupportedError, printable

MERGE, BACKWARDS = "merge_mode is ", "go_backwards is "
"""How the assumptions begin that `restate` changes."""

_MOST_PERMUTED = 6
_CLASSES = re.compile(r"(simple_rnn|gru|lstm|rnn|bidirectional)(_\d+)?")
_OF_ONE_CELL = re.compile(r"(?:.*/)?layers/(simple_rnn|gru|lstm)(_\d+)?", re.DOTALL)
_NAMES = {"rnn": "SimpleRNN", "gru": "GRU", "lstm": "LSTM"}
_EMBEDDING = re.compile(r"(?:.*/)?layers/embedding(_\d+)?", re.DOTALL)
_ADVICE = "only SimpleRNN, GRU and LSTM are"
_GATE = re.compile(r".*_U_[a-z](?::0)?", re.DOTALL)


def survey(contents: Contents) -> Survey:
    """The recurrent layers of a weights-only file, stacked where the file leaves no doubt how they follow each other.

    Files of Keras 0.3-2.15 list layers in the order of the model: those with no other weights between them are
    stacked. Keras 3 sorts groups by class: there, layers are stacked where nothing but embeddings is beside them.
    """
    ordered = isinstance(contents.metadata.get("layer_weights"), dict)
    titles: dict[Address, str] = {}
    strange: dict[Address, UnsupportedError] = {}
    readable: dict[Address, Listed] = {}
    blocks: list[list[KerasLayer]] = [[]]  # layers with no other weights between them
    alone = bool(contents.metadata.get("unordered"))
    for layer in layers_in(contents):
        titles[layer.path] = layer.title
        reason = _refusal(contents, layer, ordered)
        if reason:
            strange[layer.path] = UnsupportedError(contents.path, f"{layer.title} {reason}", _ADVICE)
        elif layer.cells:
            readable[layer.path] = layer
            blocks[-1].append(_layer(contents, layer))
            alone = alone or not (ordered or layer.held_by_class)  # attributes have no order
            continue
        if ordered:
            blocks.append([])
        alone = alone or not (ordered or _EMBEDDING.fullmatch(layer.group))
    if alone:
        blocks = [[layer] for block in blocks for layer in block]
    groups = {} if ordered else {path: layer.group for path, layer in readable.items()}
    stacks = tuple(stack for block in blocks for stack in _stacks(contents, block, groups))
    made = {layer.path: layer for block in blocks for layer in block}
    unstated = {path: _class(layer, made[path]) for path, layer in readable.items()}
    return Survey(stacks, titles, strange=strange, unstated=unstated, why_not="the file holds weights only")


def _class(listed: Listed, layer: KerasLayer) -> tuple[str, ...]:
    if _OF_ONE_CELL.fullmatch(listed.group):
        return ()
    names = [("CuDNN" if cell.cudnn else "") + _NAMES[cell.kind] for cell in layer.cells]
    return (f"the class is {'/'.join(dict.fromkeys(names))}: the weights do not say",)


def assumed(survey: Survey, stack: Stack) -> tuple[str, ...]:
    """What the file does not say of the layers besides their activation, as it is assumed."""
    if not survey.unstated:
        return ()
    found: list[str] = []
    for layer in stack:
        turned = f"{MERGE}{layer.merge_mode}" if layer.merge_mode else f"{BACKWARDS}{layer.go_backwards}"
        found += [*survey.unstated[layer.path], turned]
    in_file = [path for path in survey.layers if any(path == layer.path for layer in stack)]
    order = "the order of the file" if in_file == [layer.path for layer in stack] else "this order"
    found += [f"layers feed each other directly, in {order}"] if len(stack) > 1 else []
    return tuple(dict.fromkeys(found))


def _refusal(contents: Contents, layer: Listed, ordered: bool) -> str:
    """Why the layer is not compared, or nothing. Broken shapes are not judged here: reading them says what is wrong."""
    if not layer.cells:
        gated = ordered and any(_GATE.fullmatch(name) for name in layer.tensors)
        return "has gates, but not those of GRU or LSTM, and is not compared yet" if gated else ""
    if not ordered:
        group = layer.group.rpartition("/")[2]
        if (layer.held_by_class and not _CLASSES.fullmatch(group)) or group == "layer":
            named = layer.group.split("/")[-2] if group == "layer" else group
            return f"is of class {printable(named)!r}, which is not compared yet"
    for cell in layer.cells:
        kernel = contents.tensors.get(cell.in_order[0])
        if kernel is not None and len(kernel.shape) > 2:
            return "has convolutional weights, and is not compared yet"
        found = by_shapes(contents, cell.in_order)
        stated = _OF_ONE_CELL.fullmatch(layer.group)
        if found is None or (stated and _NAMES[found.kind].lower() != stated[1].replace("_", "")):
            return f"has {gates_in(contents, cell.in_order)} gates a unit, and is not compared yet"
    if any("/param_" in name for name in layer.strays):
        return f"has {len(layer.tensors)} weights, more than a SimpleRNN and not those of GRU or LSTM"
    strays = ", ".join(printable(name) for name in layer.strays[:4])
    return f"has weights that no cell of its kind has ({strays}), and is not compared" if strays else ""


def _layer(contents: Contents, listed: Listed) -> KerasLayer:
    path = listed.path
    halves = [[c for c in listed.cells if c.side == side] for side in ("forward", "backward")]
    two = all(halves)
    directions = halves if two else [_in_order(contents, listed)]
    if two and [len(half) for half in halves] != [1, 1]:
        found = f"layer {printable(path[-1])!r} has stacked cells in two directions"
        raise UnsupportedError(contents.path, found, "compare another part")
    if "bidirectional" in listed.group.rpartition("/")[2] and not two:
        found = f"layer {printable(path[-1])!r} lacks one of its two directions"
        raise FileError(contents.path, found, "save the model again")
    cells = tuple(_cell(contents, cell) for cell in directions[0])
    return KerasLayer(
        path,
        ("CuDNN" if cells[0].cudnn else "") + _NAMES[cells[0].kind] if len(cells) == 1 else "RNN",
        cells,
        merge_mode="concat" if two else None,
        tensors=tuple(tuple(cell.in_order for cell in half) for half in directions),
    )


def _in_order(contents: Contents, listed: Listed) -> list[CellNames]:
    """The cells of a layer as they follow each other. Keras 3 counts those of each class by themselves."""
    cells = [*listed.cells]
    classes = {cell.outer: re.sub(r"_\d+$", "", cell.outer) for cell in cells}
    if isinstance(contents.metadata.get("layer_weights"), dict) or len(set(classes.values())) == 1:
        return cells
    by_class = sorted(cells, key=lambda cell: classes[cell.outer])
    orders = [
        [*order]
        for order in (permutations(cells) if len(cells) <= _MOST_PERMUTED else ())
        if sorted(order, key=lambda cell: classes[cell.outer]) == by_class and _cells_chain(contents, order)
    ]
    if len(orders) != 1:
        found = (
            f"layer {printable(listed.path[-1])!r} stacks cells of several classes, and weights do not tell their order"
        )
        raise UnsupportedError(contents.path, found, "give the whole model, as .keras or .h5")
    return orders[0]


def _cells_chain(contents: Contents, order: Sequence[CellNames]) -> bool:
    """Whether each cell can read what the one before it gives."""
    stored = [[contents.tensors.get(name) for name in cell.in_order[:2]] for cell in order]
    shapes = [[each.shape[:1] if each else () for each in kernels] for kernels in stored]
    return all(below[1] == above[0] for below, above in pairwise(shapes))


def _cell(contents: Contents, names: CellNames) -> Cell:
    cell = by_shapes(contents, names.in_order)
    assert cell is not None  # `_refusal` let it pass
    if cell.kind == "rnn":
        shown = contents.metadata.get("activation")
        return replace(cell, activation=str(shown), stated=True) if shown else cell
    formula = formula_of(contents, names.tensors.get("kernel", ""))
    if formula is None:
        return cell
    return replace(cell, activation=formula[0], stated=True, gating=formula[1], reset_stated=True)


def _stacks(contents: Contents, block: Sequence[KerasLayer], groups: dict[Address, str]) -> list[Stack]:
    """One stack where the layers fit in the order of the file, or in the only order there can be; else each alone.

    `groups` is empty where the file states the order. Keras 3 states it among layers of one class, by their numbers.
    """
    if not block:
        return []
    kinds = {layer.path: re.sub(r"_\d+(?=/|$)", "", groups.get(layer.path, "")) for layer in block}
    if len(set(kinds.values())) == 1:
        return [tuple(block)] if chains(contents, block) else [(layer,) for layer in block]
    if len(block) <= _MOST_PERMUTED:
        by_kind = sorted(block, key=lambda layer: kinds[layer.path])
        orders = [order for order in permutations(block) if chains(contents, order)]
        orders = [order for order in orders if sorted(order, key=lambda layer: kinds[layer.path]) == by_kind]
        if len(orders) == 1:
            return [orders[0]]
    return [(layer,) for layer in block]
