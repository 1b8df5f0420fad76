"""A gated cell from its arrays: which there must be, of which shape, and where each of them goes."""

from __future__ import annotations

from rnnverify.adapters.gate_order import in_order
from rnnverify.adapters.tensorflow.arrays import SAVE_AGAIN, Arrays
from rnnverify.adapters.tensorflow.gates import LAYOUTS, GateLayout, gating, with_forget_bias
from rnnverify.adapters.tensorflow.names import Cell
from rnnverify.canonical import Direction, Gating
from rnnverify.errors import printable

_PLACES = {
    "kernel": "kernel",
    "bias": "bias",
    "recurrent_kernel": "recurrent kernel",
    "candidate_kernel": "kernel and recurrent kernel of the candidate",
    "candidate_bias": "bias of the candidate",
    "input_kernel": "kernel of the candidate",
    "input_bias": "bias of the candidate",
    "hidden_kernel": "recurrent kernel of the candidate",
    "hidden_bias": "recurrent bias of the candidate",
    "peephole_i": "peephole of the input gate",
    "peephole_f": "peephole of the forget gate",
    "peephole_o": "peephole of the output gate",
    "projection": "projection",
}


def gated_direction(arrays: Arrays, cell: Cell, where: str, forget_bias: float) -> tuple[Direction, Gating]:
    """The weights of `cell`, which is called `where`, as one that runs forward, and what is known of its gates.

    Raises `FileError` where an array is missing, or of a shape that does not fit.
    """
    layout = LAYOUTS[cell.kind]
    _check_complete(arrays, cell, layout)
    found = {role: arrays.shards(cell, role) for role in cell.variables}
    kernel, projection = found["kernel"], found.get("projection")
    sizes = layout.sizes(kernel.shape, None if projection is None else projection.shape)
    if sizes is None:
        wanted = f"its columns must be {layout.gates} gates, and its rows {layout.rows}"
        raise arrays.refused(f"{arrays.name(cell, 'kernel')} has shape {kernel.shape}", wanted)
    I, P, H = sizes
    for role, array in found.items():
        wanted_shape = layout.shapes(sizes)[role]
        if not (layout.two_biases and role == "bias" and array.shape == (2, *wanted_shape)):
            arrays.check_shape(cell, role, array, wanted_shape, H)
        arrays.place(cell, role, f"{where} {_place(layout, role, array.ndim, I, P)}")
    direction = layout.make(found)
    if layout.cell == "lstm" and forget_bias:
        direction = with_forget_bias(cell.kind, direction, forget_bias)
    return direction, gating(cell.kind, found)


def _check_complete(arrays: Arrays, cell: Cell, layout: GateLayout) -> None:
    all_roles = layout.shapes((1, 1, 1)).keys()
    for role in cell.variables:
        if role not in all_roles:
            names = printable(", ".join(cell.variables[role]))
            found = f"{cell.shown} holds {names}, which is no variable of such a cell"
            raise arrays.unsupported(found, "this version compares cells as TensorFlow has them")
    missing = all_roles - cell.variables.keys()
    for group in layout.optional:
        if group <= missing:
            missing -= group
    if missing:
        raise arrays.refused(f"{cell.shown} has no {' and no '.join(sorted(missing))}", SAVE_AGAIN)


def _place(layout: GateLayout, role: str, axes: int, I: int, P: int) -> str:
    """Where an array of that role goes, and the order of the gates in it where it has several."""
    words = _PLACES[role]
    if role == "kernel" and layout.rows != "x":
        words = f"kernel (rows 0-{I - 1}) and recurrent kernel (rows {I}-{I + P - 1})"
    if role not in ("kernel", "recurrent_kernel", "bias"):
        return words
    tied = ", with i = 1 - f" * (layout.cell == "lstm" and "i" not in layout.stored)
    return words + in_order(layout.stored, "columns" if axes == 2 else "") + tied
