"""Worst inputs: beyond what random ones show, within their range, and only where there is something to search."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import batches, edited, networks, single
from observed import NETWORK, against, model

from rnnverify import reference, search
from rnnverify.canonical import Array, Network
from rnnverify.trace import FROM_H0, PROBE, SEARCH, ZERO, Batch, Trace


def latch(nudge: float = 0.0) -> Network:
    """Two units that hold their sign: small inputs have to push the same way for long to turn them."""
    rng = np.random.default_rng(1)
    kernel = (rng.normal(size=(1, 4, 2)) * 0.1).astype(np.float32)
    recurrent = (1.4 * np.eye(2)[None] + 0.05 * rng.normal(size=(1, 2, 2))).astype(np.float32)
    recurrent[0, 0, 0] += np.float32(nudge)
    bias = np.full((1, 2), -0.1, np.float32)
    return edited(
        single(4, 2), kernel=kernel, recurrent_kernel=recurrent, bias_input=bias, bias_recurrent=np.zeros_like(bias)
    )


def parted(baseline: Network, candidate: Network, x: Array) -> float:
    ours, theirs = (reference.run(network, [Batch(ZERO, x)]).runs[ZERO].y for network in (baseline, candidate))
    return float(np.abs(ours - theirs).max())


def random_inputs(count: int, steps: int, features: int) -> Array:
    return np.random.default_rng(3).uniform(-1, 1, (count, steps, features)).astype(np.float32)


def test_a_latch_that_random_inputs_do_not_turn_is_turned() -> None:
    random = random_inputs(300, 32, 4)
    found = search.worst_inputs(latch(), latch(1e-3), random)
    assert found.shape == (4, 32, 4) and np.abs(found).max() <= np.abs(random).max()
    assert parted(latch(), latch(1e-3), found[:1]) > 20 * parted(latch(), latch(1e-3), random)


def test_of_many_and_long_sequences_a_part_is_climbed() -> None:
    random = random_inputs(200, 300, 4)
    random[150, 250, 1] = -3
    found = search.worst_inputs(latch(), latch(1e-3), random)
    assert found.shape == (4, 128, 4) and np.abs(found).max() == 3  # within the range of all of them


@settings(max_examples=20, deadline=None)
@given(networks(activations=("tanh", "relu", "sigmoid", "gelu")), st.integers(0, 99))
def test_what_is_found_is_no_less_than_what_it_started_from(network: Network, seed: int) -> None:
    random = batches(network, B=3, T=6, seed=seed)[0].x
    other = edited(network, kernel=network.layers[0].directions[0].kernel * np.float32(1.01))
    found = search.worst_inputs(network, other, random)
    assert found.shape[1:] == random.shape[1:] and np.abs(found).max() <= np.abs(random).max()
    assert parted(network, other, found) >= parted(network, other, random)


def test_networks_that_overflow_are_searched_where_they_do_not() -> None:
    network = edited(single(3, 4, activation="relu"), recurrent_kernel=np.full((1, 4, 4), 1e4, np.float32))
    other = edited(network, kernel=network.layers[0].directions[0].kernel * np.float32(1.01))
    found = search.worst_inputs(network, other, random_inputs(4, 32, 3))
    assert np.isfinite(found).all() and np.isfinite(parted(network, other, found[:, :2]))


def test_the_plan_has_rows_for_every_candidate_that_differs() -> None:
    network, given_batches = latch(), [Batch(ZERO, random_inputs(8, 16, 4)), Batch(FROM_H0, random_inputs(1, 2, 4))]
    sides = [("A", network), ("B", latch()), ("C", latch(1e-3)), ("D", latch(-1e-3))]
    plan = search.plan(sides, given_batches)
    assert plan.rows == {"C": slice(0, 4), "D": slice(4, 8)}
    assert plan.batch and plan.batch.name == SEARCH and plan.batch.h0 is None
    assert plan.batch.x.shape == (8, 16, 4) and plan.batch.x.dtype == np.float32
    a, c = (reference.run(side, [given_batches[0], plan.batch]) for side in (network, latch(1e-3)))
    pairs = search.with_searched([against(model(label, NETWORK)) for label in "BC"], plan, [a, a, c])
    nothing, found = (pair.searched for pair in pairs)
    assert nothing and nothing.note == "nothing to search, the weights are equal"
    assert found and found.found == pytest.approx(parted(network, latch(1e-3), plan.batch.x[:4]))
    assert found.random == pytest.approx(parted(network, latch(1e-3), given_batches[0].x))


@pytest.mark.parametrize(
    ("sides", "x", "note"),
    [
        ([("A", latch()), ("B", None)], np.ones((1, 2, 4)), "not made: a recording cannot be run on other inputs"),
        ([("A", None), ("B", latch())], np.ones((1, 2, 4)), "not made: a recording cannot be run on other inputs"),
        ([("A", latch()), ("B", latch(0.1))], np.zeros((1, 2, 4)), "not made: all inputs are zero"),
    ],
)
def test_where_nothing_is_searched_it_is_said(sides: list[tuple[str, Network | None]], x: Array, note: str) -> None:
    plan = search.plan(sides, [Batch(PROBE, x), Batch(ZERO, x)])
    assert plan.batch is None
    (pair,) = search.with_searched([against(model("B", NETWORK))], plan, [Trace({}), Trace({})])
    assert pair.searched and pair.searched.found is None and pair.searched.note.startswith(note)
