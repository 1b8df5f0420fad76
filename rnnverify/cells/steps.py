"""What holds the recorded states of a direction against the steps that led to them, by its kind of cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from rnnverify.canonical import Array, CellKind, Direction, Layer
from rnnverify.cells.gru_step import GruStep
from rnnverify.cells.lstm_step import LstmStep
from rnnverify.step import Allowed, Step


class Judge(Protocol):
    """Judges one block of time after another, in the order of processing; an `LstmStep` is told where they begin."""

    def judge(self, terms: Array, h: Array) -> tuple[Array, Array, Array]:
        """For h (b, t, P) after terms (b, t, I+P): the share of the budget used, where h is beyond it, its error."""


def _vanilla(layer: Layer, direction: Direction, bias_magnitude: Array, dtype: str, allowed: Allowed | None) -> Step:
    weights = np.concatenate([direction.kernel[0], direction.recurrent_kernel[0]]).astype(np.float64)  # (I+H, H)
    return Step(layer.activation, weights, direction.bias[0], bias_magnitude[0], dtype, allowed)


JUDGES: dict[CellKind, Callable[[Layer, Direction, Array, str, Allowed | None], Judge]] = {
    "rnn": _vanilla,
    "gru": GruStep,
    "lstm": LstmStep,
}


def judge_of(layer: Layer, direction: Direction, bias_magnitude: Array, dtype: str, allowed: Allowed | None) -> Judge:
    """That of one direction; `bias_magnitude` (G, H) is what the rounding of a sum of biases is relative to."""
    return JUDGES[layer.cell](layer, direction, bias_magnitude, dtype, allowed)
