"""Weights without a configuration: layers told by the names and shapes of their tensors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import permutations

from rnnverify.adapters.keras_config import Address
from rnnverify.adapters.keras_layers import Cell, KerasLayer
from rnnverify.adapters.keras_names import CellNames, cells_in
from rnnverify.adapters.keras_parts import Stack, Survey, chains
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, UnsupportedError, printable

_MOST_PERMUTED = 6
_CLASSES = re.compile(r"(simple_rnn|rnn|bidirectional)(_\d+)?")
_ADVICE = "only vanilla recurrent layers are"
_GATE = re.compile(r".*_U_[zrhicfo](?::0)?", re.DOTALL)
_GATES = {3: "GRU", 4: "LSTM"}


def survey(contents: Contents) -> Survey:
    """The recurrent layers of a weights-only file, stacked in the one order in which they fit."""
    titles: dict[Address, str] = {}
    strange: dict[Address, UnsupportedError] = {}
    blocks: list[list[KerasLayer]] = [[]]  # layers with no other weights between them
    ordered = contents.metadata.get("layer_weights")
    for path, cells in _layers(contents, ordered):
        reason = _refusal(contents, cells, path)
        if not cells and not reason:
            titles[path] = f"layer {printable(path[-1])!r}"
            blocks.append([])
            continue
        titles[path] = f"recurrent layer {printable(path[-1])!r}"
        if reason:
            strange[path] = UnsupportedError(contents.path, f"{titles[path]} {reason}", _ADVICE)
            blocks.append([])
        else:
            blocks[-1].append(_layer(contents, path, cells))
    stacks = [stack for block in blocks for stack in _stacks(contents, block)]
    several = any(len(stack) > 1 for stack in stacks)
    layers = [layer for stack in stacks for layer in stack]
    return Survey(
        tuple(stacks),
        titles,
        strange=strange,
        assumptions=(
            *(["the class is SimpleRNN: the weights do not say"] if isinstance(ordered, dict) else []),
            *(["layers feed each other directly, in the order of the file"] if several else []),
            *(["merge_mode is concat"] if any(layer.merge_mode for layer in layers) else []),
            *(["go_backwards is False"] if any(not layer.merge_mode for layer in layers) else []),
        ),
        why_not="the file holds weights only",
    )


def _layers(contents: Contents, ordered: object) -> list[tuple[Address, list[CellNames]]]:
    """Every layer that has weights, with its recurrent cells, in the order that the file gives."""
    found = []
    if not isinstance(ordered, dict):  # Keras 3: groups bear classes and numbers, not names
        names = [name for name in contents.tensors if "layers/" in name]
        cells: dict[str, list[CellNames]] = {}
        for cell in cells_in(sorted(names, key=_by_number)):
            if "/cell" in cell.outer:
                cells.setdefault(cell.layer, []).append(cell)
        return [(_noted(contents, layer), members) for layer, members in cells.items()]
    for group, names in ordered.items():
        by_layer: dict[str, list[CellNames]] = {}
        for cell in cells_in(names):
            if (
                len(contents.tensors[t].shape if (t := cell.tensors["recurrent_kernel"]) in contents.tensors else ())
                == 1
            ):
                continue  # Keras 0.3 numbers the weights of any layer: this is a bias
            by_layer.setdefault(cell.layer, []).append(cell)
        for layer, members in by_layer.items():
            found.append((_named(group, layer, len(by_layer)), members))
        if names and not by_layer:
            found.append(((group,), []))
    return found


def _by_number(name: str) -> list[tuple[str, int]]:
    """simple_rnn, simple_rnn_1, ..., simple_rnn_10: as Keras counts, not as the alphabet has them."""
    pieces = (re.fullmatch(r"(.*?)_?(\d*)", piece, re.DOTALL) for piece in name.split("/"))
    return [(piece[1], int(piece[2][:9] or 0)) if piece else ("", 0) for piece in pieces]


def _noted(contents: Contents, layer: str) -> Address:
    """The user's names of the group `layers/sequential/layers/simple_rnn`, where Keras 3.6 and later noted them."""
    noted = contents.metadata.get("names")
    names = noted if isinstance(noted, dict) else {}
    pieces = layer.split("layers/")
    ends = ["layers/".join(pieces[: k + 1]).rstrip("/") for k in range(1, len(pieces))]
    return tuple(str(names.get(end) or end.rpartition("/")[2]) for end in ends)


def _named(group: str, layer: str, members: int) -> Address:
    own = layer.rpartition("/")[2]
    if own == group or (members == 1 and re.fullmatch(re.escape(group) + r"_\d+", own)):
        return (group,)
    return group, own


def _refusal(contents: Contents, cells: list[CellNames], path: Address) -> str:
    """Why the layer is not compared, or nothing. Broken shapes are not judged here: reading them says what is wrong."""
    listed = contents.metadata.get("layer_weights")
    if isinstance(listed, dict) and not cells:
        gated = any(_GATE.fullmatch(name) for name in listed[path[0]])
        return "has gates (GRU or LSTM of Keras 1), and is not compared yet" if gated else ""
    if not isinstance(listed, dict):
        group = re.sub(r"/(forward|backward)_layer$", "", cells[0].layer).rpartition("/")[2]
        if not _CLASSES.fullmatch(group):
            return f"is of class {printable(group)!r}, which is not compared yet"
    for cell in cells:
        kernel, recurrent = (contents.tensors.get(cell.tensors[role]) for role in ("kernel", "recurrent_kernel"))
        if kernel is None or recurrent is None:
            continue
        if len(kernel.shape) > 2:
            return "has convolutional weights, and is not compared yet"
        if len(recurrent.shape) == 2 and recurrent.shape[0] and recurrent.shape[1] % recurrent.shape[0] == 0:
            gates = recurrent.shape[1] // recurrent.shape[0]
            if gates > 1 and kernel.shape[-1:] == recurrent.shape[1:]:
                return f"has {gates} gates a unit ({_GATES.get(gates, 'no known class')}), and is not compared yet"
    numbered = [name for name in contents.tensors if name.startswith(f"{path[0]}/param_")]
    if len(numbered) > 3:
        return f"has {len(numbered)} weights (GRU or LSTM of Keras 0.3), and is not compared yet"
    return ""


def _layer(contents: Contents, path: Address, cells: list[CellNames]) -> KerasLayer:
    halves = [[c for c in cells if c.side == side] for side in ("forward", "backward")]
    two = all(halves)
    directions = halves if two else [cells]
    if two and [len(half) for half in halves] != [1, 1]:
        found = f"layer {printable(path[-1])!r} has stacked cells in two directions"
        raise UnsupportedError(contents.path, found, "compare another part")
    if "bidirectional" in cells[0].layer.rpartition("/")[2] and not two:
        found = f"layer {printable(path[-1])!r} lacks one of its two directions"
        raise FileError(contents.path, found, "save the model again")
    return KerasLayer(
        path,
        "SimpleRNN" if len(directions[0]) == 1 else "RNN",
        tuple(_cell(contents, cell) for cell in directions[0]),
        merge_mode="concat" if two else None,
        tensors=tuple(tuple(cell.in_order for cell in half) for half in directions),
    )


def _cell(contents: Contents, cell: CellNames) -> Cell:
    recurrent = contents.tensors.get(cell.tensors["recurrent_kernel"])
    units = recurrent.shape[-1] if recurrent and recurrent.shape else 0
    return Cell(units, "bias" in cell.tensors, "tanh")


def _stacks(contents: Contents, block: Sequence[KerasLayer]) -> list[Stack]:
    """One stack where the layers fit in the order of the file, or in just one other; else each layer by itself."""
    if not block:
        return []
    if chains(contents, block):
        return [tuple(block)]
    if len(block) <= _MOST_PERMUTED and not isinstance(contents.metadata.get("layer_weights"), dict):
        orders = [order for order in permutations(block) if chains(contents, order)]
        if len(orders) == 1:
            return [orders[0]]
    return [(layer,) for layer in block]
