"""States that underflow are explained by rounding, too."""

from __future__ import annotations

import numpy as np
import pytest

from rnnverify import rounding
from rnnverify.canonical import Array, Direction, Gating, Layer, Network
from rnnverify.rounding import _merge_budget
from rnnverify.trace import FROM_H0, Batch, Run

F = np.float32


def sigmoid(v: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-v)), F)


def network(cell: str, G: int) -> Network:
    zeros = np.zeros((G, 1, 1), F)
    biases = {"gru": [0.0, -1.0, -1.0], "lstm": [-60.0, -1.0, -1.0, 0.0]}[cell]
    direction = Direction(zeros, zeros, np.array(biases, F)[:, None], np.zeros((G, 1), F))
    return Network((Layer((direction,), "relu", cell=cell, gating=Gating()),))  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [1e-44, 3e-39, 1e-30])
def test_a_state_that_dies_away_is_explained(start: float) -> None:
    steps, h = [], F(start)
    for _ in range(6):  # the candidate is 0, so h' = z h
        h = F(sigmoid(F(-1)) * h)
        steps.append(h)
    y = np.array(steps, F).reshape(1, -1, 1)
    batch = Batch(FROM_H0, np.zeros((1, 6, 1), F), (np.full((1, 1), start, F),))
    budget = rounding.check(network("gru", 3), [Run(batch, y)], "float32")
    assert budget is not None and budget.holds


def test_a_cell_that_dies_away_is_explained() -> None:
    steps, c = [], F(1e-44)
    for _ in range(6):  # nothing is let in, so c' = f c, and h' = c' / 2
        c = F(sigmoid(F(-1)) * c)
        steps.append(F(F(0.5) * c))
    y = np.array(steps, F).reshape(1, -1, 1)
    batch = Batch(FROM_H0, np.zeros((1, 6, 1), F), (np.zeros((1, 1), F),), (np.full((1, 1), 1e-44, F),))
    budget = rounding.check(network("lstm", 4), [Run(batch, y)], "float32")
    assert budget is not None and budget.holds


def test_what_underflow_may_take_is_next_to_nothing() -> None:
    y = np.full((1, 6, 1), 1e-30, F)
    batch = Batch(FROM_H0, np.zeros((1, 6, 1), F), (np.full((1, 1), 1e-30, F),))
    budget = rounding.check(network("gru", 3), [Run(batch, y)], "float32")
    assert budget is not None and not budget.holds


@pytest.mark.parametrize(("found", "holds"), [(0.0, True), (-6.581109e-39, True), (1e-30, False)])
def test_a_mean_of_two_directions_that_is_flushed_to_zero_is_explained(found: float, holds: bool) -> None:
    parts = (np.zeros((1, 1, 1), F), np.full((1, 1, 1), -1.3162216e-38, F))  # as tf.keras 2.13 gave them, and 0
    mean = np.full((1, 1, 1), -6.581109e-39, F)
    assert _merge_budget("layer 0 outputs", parts, mean, np.full((1, 1, 1), found, F), "float32").holds == holds
