"""The rounding budget: every mistake is beyond it, and is found where it is."""

from dataclasses import replace

import engines
import numpy as np
import pytest
from engines import ORDERS, Order
from networks import batches, bidirectional, edited, single, stacked
from rounded import budget, scaled, sequences

from rnnverify.canonical import Array, Network
from rnnverify.rounding import check
from rnnverify.trace import ZERO, Batch, Run, Trace

NETWORK = scaled(single(5, 8, seed=3), 1.0, 1.0, 1.0)
BATCH = sequences(NETWORK, "normal", 3, 3, 10, True)
FIRST = NETWORK.layers[0].directions[0]


def of(network: Network, batch: Batch = BATCH, order: Order = "split") -> Trace:
    return engines.run(network, [batch], order)


def with_y(y: Array) -> Trace:
    return Trace({ZERO: Run(BATCH, y)})


def one_weight(by: float) -> Network:
    recurrent = FIRST.recurrent_kernel.copy()
    recurrent[0, 2, 5] *= np.float32(1 + by)
    return edited(NETWORK, recurrent_kernel=recurrent)


def rounded_to(dtype: str) -> Network:
    return edited(NETWORK, **{name: a.astype(dtype).astype(np.float32) for name, a in FIRST.tensors()})


RIGHT = of(NETWORK).runs[ZERO].y
WRONG = {
    "recurrent kernel transposed": of(edited(NETWORK, recurrent_kernel=FIRST.recurrent_kernel.swapaxes(1, 2))),
    "a bias dropped": of(edited(NETWORK, bias_recurrent=0 * FIRST.bias_recurrent)),
    "a bias added twice": of(edited(NETWORK, bias_input=FIRST.bias_input + FIRST.bias_recurrent)),
    "weights rounded to float16": of(rounded_to("float16")),
    "initial states ignored": Trace({ZERO: replace(of(NETWORK, replace(BATCH, h0=None)).runs[ZERO], batch=BATCH)}),
    "shifted by one step": with_y(np.roll(RIGHT, 1, axis=1)),
    "time reversed": with_y(RIGHT[:, ::-1].copy()),
    "sequences swapped": with_y(RIGHT[::-1].copy()),
    "activation applied twice": with_y(np.tanh(RIGHT)),
    "relu for tanh": of(NETWORK.with_activations(("relu",))),
    "one weight changed by 1e-3": of(one_weight(1e-3)),
    "one state changed by 1e-5": with_y(RIGHT + np.float32(1e-5) * (np.arange(RIGHT.size) == 117).reshape(RIGHT.shape)),
    "NaN": with_y(np.where(np.arange(RIGHT.size).reshape(RIGHT.shape) == 50, np.float32(np.nan), RIGHT)),
    "infinity": with_y(np.where(np.arange(RIGHT.size).reshape(RIGHT.shape) == 50, np.float32(np.inf), RIGHT)),
}


def test_the_right_one_holds() -> None:
    for order in ORDERS:
        assert budget(NETWORK, of(NETWORK, order=order)).holds


@pytest.mark.parametrize("mistake", WRONG)
def test_every_mistake_is_beyond_the_budget(mistake: str) -> None:
    found = budget(NETWORK, WRONG[mistake])
    assert not found.holds
    assert found.used > 1 and found.beyond > 0 and found.checked == RIGHT.size
    assert found.first_step is not None


def test_where_it_fails_is_said() -> None:
    moved = RIGHT.copy()
    moved[1, 7, 4] += np.float32(1e-2)
    found = budget(NETWORK, with_y(moved))
    assert (found.where, found.at, found.first_step) == ("layer 0", (1, 7, 4), 7)
    network = bidirectional(5, 8)
    trace = of(network, sequences(network, "normal", 0, 3, 10, False))
    run = trace.runs[ZERO]
    y = run.y.copy()
    y[2, 1, 8 + 3] += np.float32(1e-2)  # the reverse half, whose second step in time is its ninth
    found = budget(network, Trace({ZERO: replace(run, y=y, states=(run.states[0], y[..., 8:]))}))
    assert (found.where, found.at, found.first_step) == ("layer 0 reverse", (2, 8, 3), 8)


def test_a_stack_is_checked_layer_by_layer() -> None:
    network = stacked(5, [8, 4])
    batch = sequences(network, "normal", 0, 3, 10, False)
    run = of(network, batch).runs[ZERO]
    lower = run.states[0].copy()
    lower[0, 2, 1] += np.float32(1e-2)
    found = budget(network, Trace({ZERO: replace(run, states=(lower, run.states[1]))}))
    assert not found.holds and found.where == "layer 0" and found.first_step == 2
    wrong = edited(network, bias_input=network.layers[0].directions[0].bias_input + np.float32(1e-3))
    assert budget(wrong, Trace({ZERO: run})).where == "layer 0"


@pytest.mark.parametrize("merge", ["sum", "mul", "ave"])
def test_a_merge_is_checked_against_its_two_halves(merge: str) -> None:
    network = bidirectional(5, 8, merge=merge)  # type: ignore[arg-type]
    run = of(network, sequences(network, "normal", 0, 3, 10, False)).runs[ZERO]
    assert budget(network, Trace({ZERO: run})).holds
    y = run.y.copy()
    y[1, 4, 2] += np.float32(1e-4)
    found = budget(network, Trace({ZERO: replace(run, y=y)}))
    assert (found.holds, found.where, found.beyond, found.first_step) == (False, "layer 0 outputs", 1, 4)


def test_states_that_were_not_recorded_give_no_budget() -> None:
    for network in (stacked(3, [4, 4]), bidirectional(3, 4, merge="sum"), stacked(3, [4, 2])):
        run = of(network, batches(network)[0]).runs[ZERO]
        assert check(network, [run], "float32") is not None
        for missing in (replace(run, states=()), replace(run, states=run.states[:1])):
            assert check(network, [missing], "float32") is None
            assert check(network, [run, missing], "float32") is None
    narrower = replace(of(NETWORK).runs[ZERO], y=RIGHT[..., :-1])
    assert check(NETWORK, [narrower], "float32") is None


def test_a_single_direction_and_concatenated_halves_need_no_states_of_their_own() -> None:
    for network in (single(3, 4), single(3, 4, reverse=True), bidirectional(3, 4)):
        run = of(network, batches(network)[1]).runs[batches(network)[1].name]
        assert budget(network, Trace({ZERO: replace(run, states=())})).holds


def test_large_biases_that_cancel_are_not_blamed() -> None:
    """b_ih = b + 1000, b_hh = -1000: adding either in float32 costs digits that no order of summation can keep."""
    moved = edited(NETWORK, bias_input=FIRST.bias_input + np.float32(1000), bias_recurrent=0 * FIRST.bias_input - 1000)
    one = edited(moved, bias_input=moved.layers[0].directions[0].bias, bias_recurrent=0 * FIRST.bias_input)
    for order in ORDERS:
        trace = of(moved, order=order)
        assert budget(moved, trace).holds
        assert budget(one, trace, other=moved).holds
    assert not budget(one, of(moved)).holds


def test_the_dtype_whose_rounding_is_allowed_is_the_one_that_is_given() -> None:
    run = of(NETWORK).runs[ZERO]
    widened = replace(run, y=run.y.astype(np.float64))
    in_float32, in_float64 = (check(NETWORK, [widened], dtype) for dtype in ("float32", "float64"))
    assert in_float32 and in_float32.holds
    assert in_float64 and not in_float64.holds
