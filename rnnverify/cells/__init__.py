"""The kinds of cells: one module each with the formula of its step, and one with what rounding may do to it.

A new kind is two such modules, a line in `CELLS` and one in `canonical.GATES`.
"""

from __future__ import annotations

from collections.abc import Callable

from rnnverify.canonical import CellKind, Direction, Layer
from rnnverify.cells import gru, lstm, rnn
from rnnverify.cells.recurrence import Recurrence, State

__all__ = ["CELLS", "Recurrence", "State", "recurrence"]

CELLS: dict[CellKind, Callable[[Layer, Direction], Recurrence]] = {
    "rnn": rnn.recurrence,
    "gru": gru.recurrence,
    "lstm": lstm.recurrence,
}


def recurrence(layer: Layer, direction: Direction) -> Recurrence:
    """The step of one direction of `layer`."""
    return CELLS[layer.cell](layer, direction)
