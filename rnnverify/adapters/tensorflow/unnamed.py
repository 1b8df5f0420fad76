"""LSTM cells that their user named without saying what they are: LSTMCell(8, name="memory").

Their variables have the names and the shapes of an LSTM's, which a dense layer may have, too: only a graph that shows
the recurrence makes cells of them (`facts`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rnnverify.adapters.tensorflow.gates import LAYOUTS
from rnnverify.adapters.tensorflow.kinds import lstm_variable
from rnnverify.adapters.tensorflow.names import Cell, placed
from rnnverify.containers.contents import StoredTensor


def unnamed_lstms(tensors: Mapping[str, StoredTensor], named: Collection[Cell]) -> list[Cell]:
    """The scopes whose variables may be those of an LSTM, apart from cells that are `named`."""
    claimed = {name for cell in named for group in cell.variables.values() for name in group}
    found: dict[str, Cell] = {}
    for name in tensors:
        scope, role = lstm_variable(name)
        if scope and name not in claimed:
            part, _, _ = scope.rpartition("/")
            cell = found.setdefault(scope, Cell(scope, part, kind="lstm", alone=scope, by_graph=True))
            cell.variables.setdefault(role, []).append(name)
    return [placed(cell) for cell in found.values() if _may_be_one(cell, tensors)]


def _may_be_one(cell: Cell, tensors: Mapping[str, StoredTensor]) -> bool:
    if any(len(group) > 1 for group in cell.variables.values()) or not {"kernel", "bias"} <= cell.variables.keys():
        return False
    shapes = {role: tensors[group[0]].shape for role, group in cell.variables.items()}
    layout = LAYOUTS["lstm"]
    sizes = layout.sizes(shapes["kernel"], shapes.get("projection"))
    return sizes is not None and all(layout.shapes(sizes).get(role) == shape for role, shape in shapes.items())
