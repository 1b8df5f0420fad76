"""Merge mode and direction, which a file of weights alone leaves open in Keras, Flax and Equinox.

Nor do weights of PyTorch state whether a model turns the steps of its input around before `nn.RNN`. Where an ONNX
graph does, that makes a layer that runs backwards beside Keras, and is something before the network beside PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rnnverify.adapters import restate
from rnnverify.adapters.onnx.restate import turned_layers, without_turns
from rnnverify.assumptions.labelled import by_label
from rnnverify.errors import OptionError, printable
from rnnverify.sides import Opened


def settle_structure(
    sides: Sequence[Opened], merge_modes: Sequence[str], go_backwards: Sequence[str]
) -> tuple[Opened, ...]:
    """Set merge mode and direction of files of weights alone. Raises OptionError as `settle` does."""
    stating = [side for side in sides if side.reading and side.reading.activation_stated]
    donor = next((side for side in stating if not _leaves_open(side)), None)
    labels = [side.source.label for side in sides]
    merges = by_label("--merge-mode", merge_modes, labels)
    for mode in merges.values():
        if mode not in ("concat", "sum", "mul", "ave"):
            raise OptionError(f"--merge-mode {printable(mode)}: known are concat, sum, mul, ave")
    backwards = {label.upper() for label in go_backwards}
    if not backwards <= set(labels):
        raise OptionError(f"--go-backwards {', '.join(sorted(backwards))}: the sides are {', '.join(labels)}")
    settled = []
    for side in sides:
        label = side.source.label
        open_question = _leaves_open(side)
        asked = [f"--merge-mode {label}=..."] * (label in merges) + ["--go-backwards"] * (label in backwards)
        if asked and not open_question:
            raise OptionError(f"{asked[0]}: {side.source} is no Keras, Flax or Equinox file of weights only")
        if not open_question:
            settled.append(_beside_torch(side, sides))
        elif label in merges or "" in merges or label in backwards:
            merge = merges.get(label, merges.get(""))
            changed = _restate(side, merge, label in backwards or None, "set by options")
            if changed is side and asked:
                raise OptionError(f"{asked[0]}: {side.source} leaves nothing open that this could settle")
            settled.append(changed)
        else:
            settled.append(_borrow_structure(side, donor))
    return tuple(settled)


def _leaves_open(side: Opened) -> bool:
    """Whether a side may not state its structure: weights alone, or with no more than their activation."""
    reading = side.reading
    if reading is None or reading.recipe.framework not in ("keras", "flax", "equinox"):
        return False
    return not reading.activation_stated or bool(reading.assumptions)


def _borrow_structure(side: Opened, donor: Opened | None) -> Opened:
    """The merge mode and direction of the donor, where its layers correspond."""
    if donor is None or donor.network is None or side.network is None:
        return side
    theirs, ours = donor.network.layers, side.network.layers
    if [len(layer.directions) for layer in theirs] != [len(layer.directions) for layer in ours]:
        return side
    merges = {layer.merge for layer in theirs if layer.bidirectional}
    backwards = {layer.directions[0].reverse for layer in theirs if not layer.bidirectional}
    if merges <= {"concat"} and backwards <= {False}:
        return side
    merge = merges.pop() if len(merges) == 1 else None
    return _restate(side, merge, True in backwards or None, f"borrowed from {donor.source.label}")


def _beside_torch(side: Opened, sides: Sequence[Opened]) -> Opened:
    """An ONNX side as PyTorch has it, where the first side that is no ONNX is weights of layers that run forward."""
    reading = side.reading
    if reading is None or reading.recipe.framework != "onnx" or not (around := turned_layers(reading)):
        return side
    readings = [other.reading for other in sides if other.reading and other.reading.recipe.framework != "onnx"]
    if not readings or readings[0].recipe.framework != "torch":
        return side
    theirs = readings[0].network.layers
    alike = len(theirs) == len(reading.network.layers)
    if not alike or any(len(theirs[k].directions) != 1 or theirs[k].directions[0].reverse for k in around):
        return side
    changed = without_turns(reading)
    words = "the graph turns the steps around before a layer, taken for no part of it: weights of PyTorch cannot say"
    return replace(side, reading=replace(changed, assumptions=(*changed.assumptions, words)))


def _restate(side: Opened, merge: str | None, go_backwards: bool | None, why: str) -> Opened:
    """`side` under another merge mode or direction; unchanged where its file leaves neither open."""
    assert side.reading is not None
    try:
        changed = restate(side.reading, merge, go_backwards)
    except ValueError as error:
        raise OptionError(f"{side.source}: cannot be read with merge mode {merge or 'concat'}: {error}") from error
    if changed is side.reading:
        return side
    words = tuple(text if text in side.reading.assumptions else f"{text} ({why})" for text in changed.assumptions)
    return replace(side, reading=replace(changed, assumptions=words))
