"""A tolerance of the user is judged on a few points exactly as on all values."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import batches
from observed import BATCHES, NETWORK, against, model, nudged, recorded, shifted, with_states

from rnnverify.canonical import Array
from rnnverify.deviation import Tolerance
from rnnverify.tolerance import frontier, tolerate
from rnnverify.trace import ZERO, Batch, Run, Trace


def traced(values: Array) -> Trace:
    """A trace whose outputs are `values` (B, T, F)."""
    return Trace({ZERO: Run(Batch(ZERO, np.zeros((*values.shape[:2], 1), np.float32)), values)})


def all_within(a: Array, b: Array, tolerance: Tolerance) -> bool:
    atol, rtol = Fraction(tolerance.atol), Fraction(tolerance.rtol)
    pairs = zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)
    return all(abs(Fraction(x) - Fraction(y)) <= atol + rtol * abs(Fraction(x)) for x, y in pairs)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-6, 1e-3, 0.3]), st.sampled_from([0.0, 1e-5, 1e-2, 1.0]))
def test_the_points_decide_as_all_values_do(seed: int, atol: float, rtol: float) -> None:
    rng = np.random.default_rng(seed)
    a = (rng.normal(size=(2, 9, 3)) * 10.0 ** rng.uniform(-6, 3)).astype(np.float32)
    b = (a * (1 + rng.normal(size=a.shape) * 10.0 ** rng.uniform(-7, 0)) + rng.normal() * 1e-6).astype(np.float32)
    pair = against(model("B", nudged(0.5)))
    points = frontier(traced(a), traced(b))
    judged = tolerate(replace(pair, frontier=points), Tolerance(atol, rtol))
    wanted = all_within(a, b, Tolerance(atol, rtol)) and (atol > 0 or rtol > 0)
    assert (judged.verdict == "CLOSE") == wanted


def test_points_on_the_edge_are_within() -> None:
    a, b = np.full((1, 1, 1), 2.0), np.full((1, 1, 1), 2.5)
    pair = replace(against(model("B", nudged(0.5))), frontier=frontier(traced(a), traced(b)))
    assert tolerate(pair, Tolerance(0.5)).verdict == tolerate(pair, Tolerance(0, 0.25)).verdict == "CLOSE"
    assert tolerate(pair, Tolerance(float(np.nextafter(0.5, 0)))).verdict == "DIFFERENT"


def test_few_points_are_kept_of_errors_that_grow_with_the_values() -> None:
    a = np.linspace(0, 9, 3000).reshape(1, 1000, 3)
    assert len(frontier(traced(a), traced(a * 1.25))) < 40


def test_judging_again_is_judging_at_once() -> None:
    side = with_states(recorded("B", NETWORK), shifted(0.01))
    strict = against(side)
    for atol in (1e-9, 0.00999, 0.0101):
        assert tolerate(strict, Tolerance(atol)) == against(side, Tolerance(atol))
        assert tolerate(tolerate(strict, Tolerance(atol)), Tolerance()) == strict


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_close(bad: float) -> None:
    def spoiled(y: Array) -> Array:
        y[0, 0, 0] = bad
        return y

    pair = against(with_states(model("B", NETWORK), spoiled))
    assert tolerate(pair, Tolerance(1e30)).verdict == "DIFFERENT"


def test_a_pass_and_what_stays_open_are_left_as_they_are() -> None:
    same = against(model("B", NETWORK))
    assert tolerate(same, Tolerance(5)).verdict == "IDENTICAL"
    zeros = tuple(replace(batch, x=np.zeros_like(batch.x), h0=None) for batch in batches(NETWORK)[:1])
    assert zeros[0].name == BATCHES[0].name
    blind = replace(against(with_states(recorded("B", NETWORK), shifted(0.01))), blind="all inputs are zero")
    assert tolerate(blind, Tolerance(1)).verdict == "INCONCLUSIVE"
