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

from rnnverify.adapters.flax_cells import Cell
from rnnverify.canonical import GATES, Array, CellKind, Direction, reorder
from rnnverify.errors import FileError, UnsupportedError, printable

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_SAVE_AGAIN = "save the parameters again"


@dataclass(frozen=True)
class _Tree:
    """The modules of a cell, gate by gate, and those among them that have a bias."""

    cell: CellKind
    over_x: str
    over_h: str
    with_bias: str
    gates: str  # the order in which they are listed, or lie side by side in one kernel


_TREES: Mapping[tuple[str, str], _Tree] = {
    ("linen", "SimpleCell"): _Tree("rnn", "i", "h", "i", "h"),
    ("nnx", "SimpleCell"): _Tree("rnn", "dense_i", "dense_h", "dense_i", "h"),
}


@dataclass(frozen=True)
class Weights:
    """One cell of the network."""

    cell: CellKind
    direction: Direction
    arrays: Mapping[str, Array]  # by the name in the file, as stored
    roles: Mapping[str, str]  # by the name in the file


def read_weights(path: Path, cell: Cell, reverse: bool) -> Weights:
    """The weights of `cell`. FileError or UnsupportedError names the array that does not fit, and what was wanted."""
    shown = printable("/".join(cell.place), 80) or "the cell"
    if cell.kind not in _TREES:
        advice = f"compared are {', '.join(sorted({name for _, name in _TREES}))}"
        raise UnsupportedError(path, f"{shown} is a flax.{cell.kind[0]}.{cell.kind[1]}, which is not compared", advice)
    tree = _TREES[cell.kind]
    over_x, over_h = tree.over_x.split(), tree.over_h.split()
    wanted = [f"{module}/kernel" for module in (*over_x, *over_h)]
    wanted += [f"{module}/bias" for module in tree.with_bias.split()]
    for names, words in ((set(wanted) - set(cell.weights), "lacks"), (set(cell.weights) - set(wanted), "holds")):
        if names:
            found = f"{shown} {words} {', '.join(sorted(map(printable, names)))}"
            raise FileError(path, found, f"a flax.{'.'.join(cell.kind)} has {', '.join(wanted)}")
    arrays = {key: _finite(path, cell, key) for key in wanted}
    G = len(GATES[tree.cell])
    wide = G // len(over_x)  # gates side by side in one kernel
    H, I = cell.sizes[1], cell.sizes[0]
    for module in (*over_x, *over_h):
        _check_shape(path, cell, f"{module}/kernel", (I if module in over_x else H, wide * H))
    for module in tree.with_bias.split():
        _check_shape(path, cell, f"{module}/bias", (wide * H,))

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


def _role(key: str, tree: _Tree) -> str:
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
        return f"{what[kind]}, gates {', '.join(tree.gates)}"
    return f"{what[kind]}, gate {tree.gates[modules.index(module)]}"


def _check_shape(path: Path, cell: Cell, key: str, wanted: tuple[int, ...]) -> None:
    tensor = cell.weights[key]
    if tensor.shape != wanted or 0 in wanted:
        found = f"{printable(tensor.name)} has shape {printable(tensor.shape, 60)}"
        raise FileError(path, found, f"a flax.{'.'.join(cell.kind)} of these sizes has {wanted}")


def _finite(path: Path, cell: Cell, key: str) -> Array:
    tensor = cell.weights[key]
    shown = printable(tensor.name)
    if tensor.dtype not in _FLOATS:
        found = f"{shown} holds {printable(tensor.dtype, 60)}"
        raise UnsupportedError(path, found, "weights must be float16, bfloat16, float32 or float64")
    values = tensor.read()
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        found = f"{shown} holds {bad} of {values.size} numbers that are NaN or infinite"
        raise FileError(path, found, "choose parameters from before the training diverged")
    return values
