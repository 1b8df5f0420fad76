"""What neither the names of gated cells nor a graph beside them state, and what is taken for granted then."""

from __future__ import annotations

from collections.abc import Sequence

from rnnverify.adapters.reading import Open
from rnnverify.adapters.tensorflow.gates import LAYOUTS
from rnnverify.adapters.tensorflow.kinds import adds_no_forget_bias, is_gated, word_of
from rnnverify.adapters.tensorflow.names import Cell

DEFAULT_FORGET_BIAS = 1.0  # of every LSTM cell that adds one, TensorFlow 0.12 to 2.21

_ONLY_TANH = {
    *("grublockcell", "grublockcellv2", "lstmblockcell", "lstmblockwrapper", "lstmfusedcell", "lstmblockfusedcell"),
    *("cudnncompatiblegrucell", "cudnncompatiblelstmcell"),
}


_KINDS = {"lstm": "an LSTMCell", "gru": "a GRUCell", "cudnn_gru": "a CudnnCompatibleGRUCell"}
_KINDS |= {"keras_lstm": "an LSTM of Keras", "keras_gru": "a GRU of Keras"}


def has_tanh(cell: Cell) -> bool:
    """Whether a cell of that name has no other activation. (A LSTMBlockCell may be called lstm_cell, too.)"""
    return bool(cell.kind) and word_of(_word(cell)) in _ONLY_TANH


def default_clip(cell: Cell) -> float:
    """The bound of the cell state that a cell of that name has; 0: none.

    In 0.12 alone a LSTMBlockCell is called so, and has 3, the default of its operation; later ones are a lstm_cell.
    """
    return 3.0 if cell.kind and _word(cell).startswith("LSTMBlockCell") else 0.0


def may_add_forget_bias(cell: Cell) -> bool:
    """Whether a cell of that name adds a forget bias, which only its graph states."""
    return cell.kind in ("lstm", "coupled") and not adds_no_forget_bias(_word(cell))


def left_open(cells: Sequence[Cell], unknown: Sequence[Cell]) -> frozenset[Open]:
    """What the file leaves open of `cells`, where no graph says anything of `unknown` ones among them.

    A forget bias is open only where it is so for every LSTM: it is settled for all of them at once.
    """
    found: set[Open] = set()
    if any(cell.kind.startswith("keras") for cell in unknown):
        found.add("gate_activation")
    if any(cell.kind == "keras_gru" and "bias" not in cell.variables for cell in unknown):
        found.add("reset")
    lstms = [cell for cell in cells if cell.kind and LAYOUTS[cell.kind].cell == "lstm"]
    if lstms and all(cell in _adding(unknown) for cell in lstms):
        found.add("forget_bias")
    return frozenset(found)


def all_add_forget_bias(cells: Sequence[Cell]) -> bool:
    """Whether every LSTM among `cells` adds one, stated or not."""
    lstms = [cell for cell in cells if cell.kind and LAYOUTS[cell.kind].cell == "lstm"]
    return bool(lstms) and all(map(may_add_forget_bias, lstms))


def assumed(unknown: Sequence[Cell], opened: frozenset[Open]) -> tuple[str, ...]:
    """What is said of cells that no graph shows: what they are, and of forget biases that are open for some only."""
    named = [cell for cell in unknown if cell.kind and not is_gated(_word(cell))]
    left = () if "forget_bias" in opened else _adding(unknown)
    return (
        *(f"{cell.shown} is {_KINDS[cell.kind]}, as its name and its variables say" for cell in named),
        *(f"{cell.shown} adds a forget bias of {DEFAULT_FORGET_BIAS:g}, as it does by default" for cell in left),
    )


def _adding(unknown: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in unknown if may_add_forget_bias(cell)]


def _word(cell: Cell) -> str:
    return cell.scope.rpartition("/")[2]
