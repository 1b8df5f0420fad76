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
from dataclasses import dataclass, field

from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.flax_names import keys_of

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


@dataclass(frozen=True)
class Cell:
    """One cell of a file, by the names of its arrays."""

    place: tuple[str, ...]  # the keys of the layer that it makes up, `params` and `cell` left out
    side: str  # "forward_rnn" or "backward_rnn", as nn.Bidirectional calls them; "" where it is neither
    weights: Mapping[str, StoredTensor] = field(default_factory=dict)  # by module and kind: "ir/kernel"

    @property
    def modules(self) -> set[str]:
        return {key.partition("/")[0] for key in self.weights}

    @property
    def kind(self) -> tuple[str, str]:
        """Interface and class, `("linen", "GRUCell")`: the one whose modules these are, or most of them."""
        found = max(_TREES, key=lambda each: _likeness(self.modules, set(_TREES[each].split())))
        if found == ("nnx", "SimpleCell"):
            kernel, recurrent = self.shape("dense_i/kernel"), self.shape("dense_h/kernel")
            if len(kernel) == len(recurrent) == 2 and recurrent[0] and recurrent[1] % recurrent[0] == 0:
                return "nnx", _DENSE.get(recurrent[1] // recurrent[0], "SimpleCell")
        return found

    @property
    def expected(self) -> tuple[str, ...]:
        """The modules that a cell of this kind has."""
        api, name = self.kind
        return tuple(_TREES.get((api, name), _TREES["nnx", "SimpleCell"]).split())

    @property
    def sizes(self) -> tuple[int, int]:
        """Input and hidden size, as the first shapes have them; zeros where there are none."""
        inner = [self.shape(f"{module}/kernel") for module in self.expected]
        inputs = next((shape for shape in inner if len(shape) == 2), (0, 0))
        recurrent = self.shape(f"{self.expected[-1]}/kernel")
        return inputs[0], recurrent[0] if len(recurrent) == 2 else 0

    def shape(self, weight: str) -> tuple[int, ...]:
        return self.weights[weight].shape if weight in self.weights else ()


def _likeness(modules: set[str], tree: set[str]) -> float:
    return len(modules & tree) / len(modules | tree)


def cells_in(contents: Contents) -> list[Cell]:
    """The cells of the file, in its order. What an optimiser keeps of them is left out."""
    found: dict[tuple[str, ...], Cell] = {}
    for name, tensor in contents.tensors.items():
        keys = keys_of(name)
        if len(keys) < 2 or keys[-2] not in _GATES or any(key in _OPTIMISER for key in keys):
            continue
        *scope, module, kind = keys
        cell = found.setdefault(tuple(scope), _cell(scope))
        found[tuple(scope)] = Cell(cell.place, cell.side, {**cell.weights, f"{module}/{kind}": tensor})
    return [cell for cell in found.values() if _is_cell(cell)]


def _is_cell(cell: Cell) -> bool:
    """Whether modules over both the input and the state are there: one alone is some Dense that bears such a name."""
    over_state = {module for module in cell.modules if module.removeprefix("dense_").startswith("h")}
    return bool(over_state) and over_state != cell.modules


def _cell(scope: list[str]) -> Cell:
    while scope[:1] == ["params"]:
        scope = scope[1:]
    if scope[-1:] == ["cell"]:
        scope = scope[:-1]
    side = scope[-1] if scope and scope[-1] in _SIDES else ""
    return Cell(tuple(scope[:-1] if side else scope), side)
