"""The weights of one Flax cell, checked and in canonical form: kernels are (in, out), samples are rows.

Sources: flax/linen/recurrent.py and flax/nnx/nn/recurrent.py, 0.12.8. Each module has a kernel; a bias is where the two
sums of a gate need one: over x in SimpleCell, over h in an LSTM, over x in a GRU, whose new gate has a second one over
h in linen, inside the product with r, and none in nnx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnverify.adapters.gate_order import in_order
from rnnverify.adapters.jax.cell import Cell
from rnnverify.adapters.jax.weights import Weights, check_shape, weights_of
from rnnverify.canonical import GATES, Array, CellKind, Direction, reorder
from rnnverify.errors import FileError, UnsupportedError, printable


@dataclass(frozen=True)
class Tree:
    """The modules of a cell, gate by gate, and those among them that have a bias."""

    cell: CellKind
    over_x: str
    over_h: str
    with_bias: str
    gates: str  # the order in which they are listed, or lie side by side in one kernel


TREES: Mapping[tuple[str, str], Tree] = {
    ("linen", "SimpleCell"): Tree("rnn", "i", "h", "i", "h"),
    ("linen", "GRUCell"): Tree("gru", "ir iz in", "hr hz hn", "ir iz in hn", "rzn"),
    ("linen", "OptimizedLSTMCell"): Tree("lstm", "ii if ig io", "hi hf hg ho", "hi hf hg ho", "ifgo"),
    ("nnx", "SimpleCell"): Tree("rnn", "dense_i", "dense_h", "dense_i", "h"),
    ("nnx", "GRUCell"): Tree("gru", "dense_i", "dense_h", "dense_i", "rzn"),
    ("nnx", "LSTMCell"): Tree("lstm", "ii if_ ig io", "hi hf hg ho", "hi hf hg ho", "ifgo"),
    ("nnx", "OptimizedLSTMCell"): Tree("lstm", "dense_i", "dense_h", "dense_h", "ifgo"),
}
"""Interface and class to the modules inside."""


def read_weights(path: Path, cell: Cell, reverse: bool) -> Weights:
    """The weights of `cell`. FileError or UnsupportedError names the array that does not fit, and what was wanted."""
    shown = printable(cell.name, 80) or "the cell"
    if cell.kind not in TREES:
        advice = f"compared are {', '.join(sorted({name for _, name in TREES}))}"
        raise UnsupportedError(path, f"{shown} is a {cell.words}, which is not compared", advice)
    tree = TREES[cell.kind]
    over_x, over_h = tree.over_x.split(), tree.over_h.split()
    wanted = [f"{module}/kernel" for module in (*over_x, *over_h)]
    wanted += [f"{module}/bias" for module in tree.with_bias.split()]
    for names, words in ((set(wanted) - set(cell.weights), "lacks"), (set(cell.weights) - set(wanted), "holds")):
        if names:
            found = f"{shown} {words} {', '.join(sorted(map(printable, names)))}"
            raise FileError(path, found, f"{cell.words} has {', '.join(wanted)}")
    arrays = {key: weights_of(path, cell, key) for key in wanted}
    G = len(GATES[tree.cell])
    wide = G // len(over_x)  # gates side by side in one kernel
    H, I = cell.sizes[1], cell.sizes[0]
    for module in (*over_x, *over_h):
        check_shape(path, cell, f"{module}/kernel", (I if module in over_x else H, wide * H))
    for module in tree.with_bias.split():
        check_shape(path, cell, f"{module}/bias", (wide * H,))

    def gates(modules: list[str], kind: str, shape: tuple[int, ...]) -> Array:
        """(G, ...) in canonical order: the arrays of `modules`, zeros for those that have none."""
        dtype = np.result_type(*arrays.values())
        parts = [arrays.get(f"{module}/{kind}", np.zeros((*shape[:-1], wide * H), dtype)) for module in modules]
        stored = [each for part in parts for each in np.split(part, wide, axis=-1)]
        return reorder(np.stack(stored), tree.gates, GATES[tree.cell])

    direction = Direction(
        kernel=gates(over_x, "kernel", (I, H)),
        recurrent_kernel=gates(over_h, "kernel", (H, H)),
        bias_input=gates(over_x, "bias", (H,)),
        bias_recurrent=gates(over_h, "bias", (H,)),
        reverse=reverse,
    )
    named = {cell.weights[key].name: array for key, array in arrays.items()}
    roles = {cell.weights[key].name: _role(key, tree) for key in wanted}
    return Weights(tree.cell, direction, named, roles)


def _role(key: str, tree: Tree) -> str:
    """Where an array goes: `kernel, gate r`."""
    module, _, kind = key.partition("/")
    inner = module in tree.over_x.split()
    modules = (tree.over_x if inner else tree.over_h).split()
    what = (
        {"kernel": "kernel", "bias": "input bias"}
        if inner
        else {"kernel": "recurrent kernel", "bias": "recurrent bias"}
    )
    if len(tree.gates) == 1:
        return what[kind]
    if len(modules) == 1:
        return what[kind] + in_order(tree.gates, "columns" if kind == "kernel" else "")
    return f"{what[kind]}, gate {tree.gates[modules.index(module)]}"
