"""Which arrays of a Flax file are the weights of which cell, told by their names.

Below the keys that lead to a cell (flax/linen/recurrent.py and flax/nnx/nn/recurrent.py, 0.12.8):

    linen SimpleCell                    i, h                             one Dense a gate, `kernel` and `bias` in it
    linen GRUCell                       ir iz in, hr hz hn
    linen LSTMCell, OptimizedLSTMCell   ii if ig io, hi hf hg ho         the same tree for both
    linen MGUCell                       if in, hf hn
    nnx SimpleCell, GRUCell, OptimizedLSTMCell   dense_i, dense_h        all gates side by side, 1, 3 or 4 of them
    nnx LSTMCell                        ii if_ ig io, hi hf hg ho
"""

from __future__ import annotations

from collections.abc import Mapping

from rnnverify.adapters.jax.cell import Cell
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.flax_names import keys_of
from rnnverify.errors import FileError, printable

Weights = Mapping[str, StoredTensor]  # by module and kind: "ir/kernel"

_TREES: Mapping[tuple[str, str], str] = {
    ("linen", "SimpleCell"): "i h",
    ("linen", "GRUCell"): "ir iz in hr hz hn",
    ("linen", "OptimizedLSTMCell"): "ii if ig io hi hf hg ho",
    ("linen", "MGUCell"): "if in hf hn",
    ("nnx", "LSTMCell"): "ii if_ ig io hi hf hg ho",
    ("nnx", "SimpleCell"): "dense_i dense_h",
}
"""Interface and class to the modules inside."""

_DENSE = {3: "GRUCell", 4: "OptimizedLSTMCell"}  # nnx, by gates side by side
_GATES = {gate for tree in _TREES.values() for gate in tree.split()}
_SIDES = ("forward_rnn", "backward_rnn")
_OPTIMISER = ("opt_state", "optimizer")


def cells_in(contents: Contents) -> list[Cell]:
    """The cells of the file, in its order. What an optimiser keeps of them is left out.

    Raises FileError where two arrays bear the name of one parameter.
    """
    found: dict[tuple[str, ...], dict[str, StoredTensor]] = {}
    for name, tensor in contents.tensors.items():
        keys = keys_of(name)
        if len(keys) > 1 and keys[-2] in _GATES and not any(key in _OPTIMISER for key in keys):
            weights = found.setdefault(keys[:-2], {})
            if other := weights.get("/".join(keys[-2:])):
                both = f"holds both {printable(other.name)} and {printable(name)}, which are the same parameter"
                raise FileError(contents.path, both, "keep one of them")
            weights["/".join(keys[-2:])] = tensor
    return [_cell(scope, weights) for scope, weights in found.items() if _is_cell(weights)]


def modules_of(kind: tuple[str, str]) -> tuple[str, ...]:
    """The modules of a cell of that kind, those over x before those over h."""
    return tuple(_TREES.get(kind, _TREES["nnx", "SimpleCell"]).split())


def _is_cell(weights: Weights) -> bool:
    """Whether modules over both the input and the state are there: one alone is some Dense that bears such a name."""
    modules = {key.partition("/")[0] for key in weights}
    over_state = {module for module in modules if module.removeprefix("dense_").startswith("h")}
    return bool(over_state) and over_state != modules


def _cell(scope: tuple[str, ...], weights: Weights) -> Cell:
    while scope[:1] == ("params",):
        scope = scope[1:]
    if scope[-1:] == ("cell",):
        scope = scope[:-1]
    side = scope[-1] if scope and scope[-1] in _SIDES else ""
    kind = _kind(weights)
    inner = [shape for module in modules_of(kind) if len(shape := _shape(weights, f"{module}/kernel")) == 2]
    recurrent = _shape(weights, f"{modules_of(kind)[-1]}/kernel")
    sizes = (inner[0][0] if inner else 0, recurrent[0] if len(recurrent) == 2 else 0)
    return Cell(scope[:-1] if side else scope, side, kind, sizes, weights)


def _kind(weights: Weights) -> tuple[str, str]:
    """The interface and class whose modules these are, or most of them."""
    modules = {key.partition("/")[0] for key in weights}
    found = max(_TREES, key=lambda each: _likeness(modules, set(_TREES[each].split())))
    if found == ("nnx", "SimpleCell"):
        recurrent = _shape(weights, "dense_h/kernel")
        if len(recurrent) == 2 and recurrent[0] and recurrent[1] % recurrent[0] == 0:
            return "nnx", _DENSE.get(recurrent[1] // recurrent[0], "SimpleCell")
    return found


def _shape(weights: Weights, key: str) -> tuple[int, ...]:
    return weights[key].shape if key in weights else ()


def _likeness(modules: set[str], tree: set[str]) -> float:
    return len(modules & tree) / len(modules | tree)
