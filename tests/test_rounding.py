"""The rounding budget: every correct implementation keeps it, whatever the order of its sums."""

from dataclasses import replace

import engines
import numpy as np
import pytest
from engines import ORDERS, Order
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import edited, single
from rounded import budget, cases, scaled, sequences

from rnnverify import reference, rounding
from rnnverify.activations import ACTIVATIONS
from rnnverify.canonical import Network
from rnnverify.inputs import InputOptions, make_batches
from rnnverify.rounding import FIRST_SHARE, SHARE_BINS, _shares, check
from rnnverify.step import ACTIVATION_ERRORS
from rnnverify.trace import ZERO, Batch, Trace


@settings(max_examples=150, deadline=None)
@given(cases("tanh", "relu", "sigmoid", "linear"), st.sampled_from(ORDERS), st.sampled_from(["float32", "float64"]))
def test_every_correct_implementation_holds(case: tuple[Network, Batch], order: Order, dtype: str) -> None:
    network, batch = case
    trace = engines.run(network, [batch], order, dtype)
    assume(all(np.isfinite(run.y).all() for run in trace.runs.values()))  # products of large outputs overflow
    found = budget(network, trace)
    assert found.holds and found.used <= 1, found
    assert (found.beyond, found.first_step) == (0, None)
    assert found.checked >= batch.x.shape[0] * batch.x.shape[1] * network.output_size


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_activation_holds_and_its_neighbours_do_not(activation: str, dtype: str) -> None:
    """Among them those that are not monotone: silu, gelu, mish."""
    for seed, radius in ((0, 0.5), (1, 1.0), (2, 2.0)):
        radius = radius / 10 if activation == "exponential" else radius  # which explodes otherwise
        network = scaled(single(3, 12, seed=seed, activation=activation), 1.0, radius, 1.0)
        batch = sequences(network, "normal", seed, 4, 6, True)
        for order in ORDERS:
            trace = engines.run(network, [batch], order, dtype)
            assert budget(network, trace).holds
            run = trace.runs[ZERO]
            moved = replace(run, y=run.y * np.asarray(1 + 1e-3, dtype) + np.asarray(1e-4, dtype))
            assert not budget(network, Trace({ZERO: moved})).holds


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_slopes_that_are_relied_on(activation: str) -> None:
    """The interval act(z - eps) to act(z + eps) stands for monotone functions only; the others state their slope."""
    z = np.linspace(-30, 30, 600_001)
    slopes = np.diff(ACTIVATIONS[activation](z)) / np.diff(z)
    error = ACTIVATION_ERRORS.get(activation)
    if error and error.largest_slope:
        assert np.abs(slopes).max() <= error.largest_slope
    else:
        assert slopes.min() > -1e-9
    if error and error.least_slope:
        for eps in (1e-6, 1e-3, 0.1, 1.0):
            middle = np.linspace(-9, 9, 2001)
            bound = error.least_slope(ACTIVATIONS[activation](middle), middle, np.full_like(middle, eps))
            low, at, high = (ACTIVATIONS[activation](middle + by) for by in (-eps, 0, eps))
            assert (np.maximum(bound, 0) * eps <= np.minimum(high - at, at - low) + 1e-15).all()


def test_every_named_error_is_of_an_activation() -> None:
    assert set(ACTIVATION_ERRORS) <= set(ACTIVATIONS)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("size", [1e2, 1e6, 1e12])
def test_saturated_units_hold(activation: str, size: float) -> None:
    network = scaled(single(3, 16, activation=activation), size, 1.0, 1.0)
    batch = sequences(network, "normal", 0, 2, 8, True)
    for order in ORDERS:
        assert budget(network, engines.run(network, [batch], order)).holds


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
@pytest.mark.parametrize(
    ("dtype", "inputs", "kernel", "recurrent"),
    [
        ("float64", 1e30, 1e10, 1e-3),  # sums that no float32 holds
        ("float64", 1e-30, 1e-20, 0.3),
        ("float32", 1e18, 1e19, 1e-3),  # and ones that it only just does
        ("float32", 1e-20, 1e-20, 0.3),  # products below the smallest normal number
        ("float16", 1e-2, 1e-3, 1.0),
        ("float16", 1e-2, 1e-2, 1e-2),
    ],
)
def test_the_ends_of_the_range_hold(
    activation: str, dtype: str, inputs: float, kernel: float, recurrent: float
) -> None:
    wide = "float64" if dtype == "float64" else "float32"
    rng = np.random.default_rng(0)
    for seed in range(5):
        network = single(5, 16, seed=seed, activation=activation)
        d = network.layers[0].directions[0]
        none = np.zeros_like(d.bias_input)
        scale = {
            "kernel": d.kernel.astype(wide) * kernel,
            "recurrent_kernel": d.recurrent_kernel.astype(wide) * recurrent,
        }
        network = edited(network, **scale, bias_input=none, bias_recurrent=none)
        if dtype == "float16":
            network = edited(
                network, **{name: a.astype(dtype) for name, a in network.layers[0].directions[0].tensors()}
            )
        batch = Batch(ZERO, (rng.normal(size=(3, 6, 5)) * inputs).astype(dtype))
        for order in ORDERS:
            found = budget(network, engines.run(network, [batch], order, dtype))
            assert found.holds, (order, found)


def test_half_precision_states_hold() -> None:
    network = single(3, 8)
    halves = edited(network, **{name: a.astype(np.float16) for name, a in network.layers[0].directions[0].tensors()})
    batch = sequences(halves, "normal", 0, 2, 8, False)
    assert budget(halves, engines.run(halves, [batch], "naive", "float16")).holds
    assert not budget(network, engines.run(halves, [batch], "naive", "float32")).holds


@settings(max_examples=40, deadline=None)
@given(cases("tanh", "relu"), st.sampled_from([1, 8 * 3 * 16, 8 * 3 * 33 * 5]), st.booleans())
def test_blocks_along_time_are_as_one_piece(case: tuple[Network, Batch], size: int, wrong: bool) -> None:
    network, batch = case
    trace = engines.run(network, [batch], "split")
    if wrong:
        d = network.layers[0].directions[0]
        network = edited(network, recurrent_kernel=d.recurrent_kernel.swapaxes(1, 2) * np.float32(1.5))
    whole = budget(network, trace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounding, "_BLOCK_BYTES", size)
        parts = budget(network, trace)
    assert (parts.beyond, parts.checked, parts.first_step) == (whole.beyond, whole.checked, whole.first_step)
    assert parts.used == pytest.approx(whole.used, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(ORDERS), st.sampled_from([1e-3, 1.0, 1e3]))
def test_a_port_that_added_two_biases_into_one_float_holds(seed: int, order: Order, size: float) -> None:
    two = scaled(single(4, 8, seed=seed), 1.0, 1.0, size)
    d = two.layers[0].directions[0]
    one = edited(two, bias_input=d.bias_input + d.bias_recurrent, bias_recurrent=0 * d.bias_input)
    batch = sequences(two, "normal", seed, 2, 6, False)
    for baseline, candidate in ((two, one), (one, two)):
        assert budget(baseline, engines.run(candidate, [batch], order), other=candidate).holds
    wrong = edited(one, bias_input=np.float32(0.5) * (d.bias_input + d.bias_recurrent))
    if size > 1:
        return  # saturated: half the bias gives the same states
    assert not budget(two, engines.run(wrong, [batch], order), other=wrong).holds


@given(st.lists(st.floats(0, float("inf")) | st.sampled_from([2.0**k for k in range(-20, 12)]), min_size=1))
def test_every_share_is_counted_in_its_power_of_two(used: list[float]) -> None:
    edges = [2.0 ** (k + FIRST_SHARE) for k in range(SHARE_BINS - 1)]  # bin k ends at 2^(k + FIRST_SHARE), with it
    expected = np.bincount(np.searchsorted(edges, used, side="left"), minlength=SHARE_BINS)
    np.testing.assert_array_equal(_shares(np.array(used)[None, None]), expected)


def test_the_shares_of_a_budget_tell_what_is_beyond() -> None:
    within = [k + FIRST_SHARE <= 0 for k in range(SHARE_BINS)]
    network = single(3, 4, seed=0)
    (zero, _) = make_batches(InputOptions(sequences=2, steps=5), network)
    (run,) = reference.run(network, [zero]).runs.values()
    wrong = replace(run, y=run.y + 0.01, states=tuple(s + 0.01 for s in run.states), h_n=())
    for states, holds in ((run, True), (wrong, False)):
        budget = check(network, [states], "float32")
        assert budget and sum(budget.shares) == budget.checked == 2 * 5 * 4
        assert sum(n for n, inside in zip(budget.shares, within, strict=True) if not inside) == budget.beyond
        assert budget.holds == holds
