"""What every kind of cell offers to the reference: one step, and what the inputs give to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnverify.canonical import Array

State = tuple[Array, ...]
"""h (B, P), and of an LSTM the cell state c (B, H) behind it."""


@dataclass(frozen=True)
class Recurrence:
    """The formula of one direction with its weights, in float64. K is G * H, gate after gate."""

    project: Callable[[Array], Array]  # x (B, t, I) to (B, t, K): one product for all steps
    step: Callable[[Array, State], State]  # (B, K) of one step and the state before it, to the state after it


def side_by_side(weights: Array) -> Array:
    """(G, R, H) as one matrix (R, G * H), or (G, H) as one row (G * H,), float64."""
    if weights.ndim == 2:
        return weights.astype(np.float64).reshape(-1)
    G, R, H = weights.shape
    beside = np.empty((R, G, H))
    beside[...] = weights.transpose(1, 0, 2)
    return beside.reshape(R, G * H)
