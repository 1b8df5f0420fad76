"""The vanilla cell: h' = act(x W + b_ih + h U + b_hh)."""

from __future__ import annotations

import numpy as np

from rnnverify.activations import activation
from rnnverify.canonical import Array, Direction, Layer
from rnnverify.cells.recurrence import Recurrence, State


def recurrence(layer: Layer, direction: Direction) -> Recurrence:
    """The step of `direction`."""
    act = activation(layer.activation)
    kernel, recurrent_kernel = (w[0].astype(np.float64) for w in (direction.kernel, direction.recurrent_kernel))
    bias = direction.bias[0]

    def step(projected: Array, state: State) -> State:
        return (act(projected + state[0] @ recurrent_kernel),)

    return Recurrence(lambda x: x @ kernel + bias, step)
