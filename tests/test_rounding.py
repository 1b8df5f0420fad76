"""The rounding budget: every correct implementation keeps it, whatever the order of its sums; wrong ones break it."""

from collections.abc import Callable
from dataclasses import replace

import engines
import numpy as np
import pytest
from engines import ORDERS, Order
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import MERGES, batches, bidirectional, direction, edited, single, stacked

from rnnverify import rounding
from rnnverify.activations import ACTIVATIONS
from rnnverify.canonical import Array, Layer, Network
from rnnverify.rounding import ACTIVATION_ERRORS, Budget, check
from rnnverify.trace import ZERO, Batch, Run, Trace

INPUTS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "large": lambda rng, shape: 1e4 * rng.normal(size=shape),
    "small": lambda rng, shape: 1e-6 * rng.normal(size=shape),
    "denormal": lambda rng, shape: 1e-41 * rng.normal(size=shape),
    "constant": lambda _, shape: np.full(shape, 0.7),
    "zero": lambda _, shape: np.zeros(shape),
    "sparse": lambda rng, shape: rng.normal(size=shape) * (rng.uniform(size=shape) < 0.1),
}


def budget(network: Network, trace: Trace, other: Network | None = None) -> Budget:
    """Against the rounding of the dtype that the states are in."""
    runs = list(trace.runs.values())
    found = check(network, runs, runs[0].y.dtype.name, other)
    assert found is not None
    return found


def scaled(network: Network, kernel: float, radius: float, bias: float) -> Network:
    """`network` with its kernels and biases scaled, and recurrent kernels of about this spectral radius."""

    def directions(layer: Layer) -> Layer:
        root = np.float32(radius / (0.5 * layer.hidden_size**0.5))
        made = [
            replace(
                d,
                kernel=d.kernel * np.float32(kernel),
                recurrent_kernel=d.recurrent_kernel * root,
                bias_input=d.bias_input * np.float32(bias),
                bias_recurrent=d.bias_recurrent * np.float32(bias),
            )
            for d in layer.directions
        ]
        return replace(layer, directions=tuple(made))

    return Network(tuple(directions(layer) for layer in network.layers))


@st.composite
def scaled_networks(draw: st.DrawFn, activations: tuple[str, ...]) -> Network:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers: list[Layer] = []
    I = draw(st.integers(1, 9))
    for _ in range(draw(st.integers(1, 3))):
        H = draw(st.sampled_from([1, 2, 3, 7, 16, 33]))
        both, reverse = draw(st.booleans()), draw(st.booleans())
        pair = (direction(rng, I, H), direction(rng, I, H, reverse=True))
        layer = Layer(
            pair if both else (pair[reverse],),
            draw(st.sampled_from(activations)),
            merge=draw(st.sampled_from(MERGES)) if both else "concat",
            time_restored=both or not reverse or draw(st.booleans()),
        )
        layers.append(layer)
        I = layer.output_size
    kernel, radius, bias = (draw(st.sampled_from(sizes)) for sizes in ((1e-3, 1.0, 30.0), (0.1, 1.0, 3.0), (0.0, 1.0)))
    return scaled(Network(tuple(layers)), kernel, radius, bias)


def sequences(network: Network, kind: str, seed: int, B: int, T: int, from_h0: bool) -> Batch:
    rng = np.random.default_rng(seed)
    x = INPUTS[kind](rng, (B, T, network.input_size)).astype(np.float32)
    h0 = tuple(rng.uniform(-1, 1, (B, d.hidden_size)).astype(np.float32) for _, _, d in network.directions())
    return Batch(ZERO, x, h0 if from_h0 else None)


def cases(*activations: str) -> st.SearchStrategy[tuple[Network, Batch]]:
    """A network, and sequences for it."""
    return scaled_networks(activations).flatmap(
        lambda network: st.tuples(
            st.just(network),
            st.builds(
                sequences,
                st.just(network),
                st.sampled_from(list(INPUTS)),
                st.integers(0, 2**32 - 1),
                st.integers(1, 3),
                st.integers(1, 12),
                st.booleans(),
            ),
        )
    )


@settings(max_examples=150, deadline=None)
@given(cases("tanh", "relu", "sigmoid", "linear"), st.sampled_from(ORDERS), st.sampled_from(["float32", "float64"]))
def test_every_correct_implementation_holds(case: tuple[Network, Batch], order: Order, dtype: str) -> None:
    network, batch = case
    found = budget(network, engines.run(network, [batch], order, dtype))
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


def test_the_dtype_whose_rounding_is_allowed_is_the_one_that_is_given() -> None:
    run = of(NETWORK).runs[ZERO]
    widened = replace(run, y=run.y.astype(np.float64))
    in_float32, in_float64 = (check(NETWORK, [widened], dtype) for dtype in ("float32", "float64"))
    assert in_float32 and in_float32.holds
    assert in_float64 and not in_float64.holds


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
@pytest.mark.parametrize("size", [1e2, 1e6, 1e12])
def test_saturated_units_hold(activation: str, size: float) -> None:
    network = scaled(single(3, 16, activation=activation), size, 1.0, 1.0)
    batch = sequences(network, "normal", 0, 2, 8, True)
    for order in ORDERS:
        assert budget(network, engines.run(network, [batch], order)).holds


def test_half_precision_states_hold() -> None:
    network = single(3, 8)
    halves = edited(network, **{name: a.astype(np.float16) for name, a in network.layers[0].directions[0].tensors()})
    batch = sequences(halves, "normal", 0, 2, 8, False)
    assert budget(halves, engines.run(halves, [batch], "naive", "float16")).holds
    assert not budget(network, engines.run(halves, [batch], "naive", "float32")).holds


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


def test_large_biases_that_cancel_are_not_blamed() -> None:
    """b_ih = b + 1000, b_hh = -1000: adding either in float32 costs digits that no order of summation can keep."""
    moved = edited(NETWORK, bias_input=FIRST.bias_input + np.float32(1000), bias_recurrent=0 * FIRST.bias_input - 1000)
    one = edited(moved, bias_input=moved.layers[0].directions[0].bias, bias_recurrent=0 * FIRST.bias_input)
    for order in ORDERS:
        trace = of(moved, order=order)
        assert budget(moved, trace).holds
        assert budget(one, trace, other=moved).holds
    assert not budget(one, of(moved)).holds


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
