"""Correct engines pass the budgets of gated cells, in any order of summation; wrong ones do not."""

from dataclasses import replace

import engines
import numpy as np
import pytest
from engines32 import SUMS, Sums, run
from hypothesis import given
from hypothesis import strategies as st
from networks import gated, mixed

from rnnverify import reference, rounding
from rnnverify.canonical import CellKind, Direction, Layer, Network
from rnnverify.cells.lstm_step import LstmStep
from rnnverify.gate_mistakes import GATE_MISTAKES
from rnnverify.inputs import InputOptions, make_batches
from rnnverify.mistakes import MISTAKES, planted
from rnnverify.probes import make_probes
from rnnverify.recorded import recorded_steps
from rnnverify.rounding import check, explains_steps
from rnnverify.timeline import departure
from rnnverify.trace import ZERO, Batch, Run

NETWORKS = {
    "gru": gated("gru", 5, 6),
    "gru, reset before": gated("gru", 5, 6, reset_after=False),
    "lstm": gated("lstm", 5, 6),
    "lstm, all there is": gated("lstm", 5, 6, P=4, peepholes=True, cell_clip=0.7),
}


def all_batches(network: Network) -> list[Batch]:
    probes = make_probes(network)
    assert probes is not None
    return [*make_batches(InputOptions(sequences=3, steps=40), network), probes]


@pytest.mark.parametrize("sums", SUMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_correct_engine_passes(name: str, sums: Sums) -> None:
    network = NETWORKS[name]
    budget = check(network, [run(network.layers[0], sums, b) for b in all_batches(network)], "float32")
    assert budget is not None and budget.holds
    assert 0.001 < budget.used < 0.9


@given(
    cell=st.sampled_from(["gru", "lstm"]),
    after=st.booleans(),
    peepholes=st.booleans(),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    sums=st.sampled_from(SUMS),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_correct_engine_is_blamed(
    cell: CellKind, after: bool, peepholes: bool, sizes: tuple[int, int], sums: Sums, scale: float, seed: int
) -> None:
    drawn = gated(cell, *sizes, seed=seed, peepholes=peepholes and cell == "lstm", reset_after=after)
    network = drawn.mapped(lambda w: (w * scale).astype(np.float32))
    x = np.random.default_rng(seed).normal(size=(2, 25, sizes[0])).astype(np.float32)
    with np.errstate(over="ignore"):  # exp of the engine in saturation
        recorded = run(network.layers[0], sums, Batch("zero", x))
    budget = check(network, [recorded], "float32")
    assert budget is not None and budget.holds


@pytest.mark.parametrize("name", NETWORKS)
def test_every_planted_mistake_is_beyond_the_budget(name: str) -> None:
    network = NETWORKS[name]
    wrong = list(planted(network, (*MISTAKES, *GATE_MISTAKES)))
    assert len(wrong) > 15
    for words, other in wrong:
        runs = [as_float32(each) for each in reference.run(other, all_batches(network)).runs.values()]
        budget = check(network, runs, "float32")
        assert budget is not None and not budget.holds, words


@pytest.mark.parametrize("name", NETWORKS)
def test_a_single_weight_is_seen_by_probes(name: str) -> None:
    network = NETWORKS[name]
    d = network.layers[0].directions[0]
    probes = make_probes(network)
    assert probes is not None
    for field in ("kernel", "recurrent_kernel"):
        for gate in range(len(d.kernel)):
            weights = getattr(d, field).copy()
            weights[gate, 1, 2] *= np.float32(1 + 1e-3)
            layer = replace(network.layers[0], directions=(replace(d, **{field: weights}),))
            (recorded,) = reference.run(Network((layer,)), [probes]).runs.values()
            budget = check(network, [as_float32(recorded)], "float32")
            assert budget is not None and not budget.holds, (field, gate)


def test_a_final_cell_state_that_no_step_led_to() -> None:
    network = NETWORKS["lstm"]
    recorded = run(network.layers[0], SUMS[0], all_batches(network)[0])
    other = replace(recorded, c_n=(recorded.c_n[0] + np.float32(1e-3),))
    right, wrong = check(network, [recorded], "float32"), check(network, [other], "float32")
    assert right is not None and right.holds
    assert wrong is not None and not wrong.holds and wrong.where == "final cell state of layer 0"
    assert 1 < wrong.used < np.inf and wrong.first_step == wrong.at[1] == recorded.y.shape[1] - 1
    assert departure(wrong, network).startswith(
        f"it begins in final cell state of layer 0 at step {wrong.first_step}, "
    )
    short = replace(recorded, c_n=(recorded.c_n[0][:, :-1],))
    lacking = check(network, [short], "float32")
    assert lacking is not None and lacking.used == np.inf and not lacking.holds


@pytest.mark.parametrize(("units", "holds"), [(5.05, True), (8, False)])
def test_a_reset_gate_may_be_off_as_far_as_that_of_onnxruntime(units: float, holds: bool) -> None:
    """In its tail, where r v is next to nothing and v is large: h = (1 - z) tanh(r v), and z = 0."""
    U = np.array([-20, -20, -20], np.float32).reshape(3, 1, 1)
    none = np.zeros((3, 1), np.float32)
    network = Network((Layer((Direction(np.zeros((3, 1, 1), np.float32), U, none, none),), cell="gru"),))
    r = 1 / (1 + np.exp(20.0)) - units * 2.0**-24
    y = np.tanh(r * np.full((1, 1, 1), -20.0)).astype(np.float32)
    batch = Batch("from_h0", np.zeros((1, 1, 1), np.float32), (np.ones((1, 1), np.float32),))
    budget = check(network, [Run(batch, y)], "float32")
    assert budget is not None and budget.holds == holds


def test_a_final_cell_state_that_other_weights_led_to_is_a_consequence() -> None:
    network = NETWORKS["lstm"]
    (batch, *_), (layer,) = all_batches(network), network.layers
    halved = replace(layer, directions=(layer.directions[0].mapped(lambda w: w / 2),))
    budget = check(network, [run(halved, SUMS[0], batch)], "float32")
    assert budget is not None and not budget.holds and 1 < budget.used < np.inf
    assert departure(budget, network).startswith("it begins in layer 0 at step 0")


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_of_sequences_are_judged_as_all_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS[name]
    recorded = [run(network.layers[0], SUMS[1], b) for b in all_batches(network)]
    recorded[0].y[2, 7, 1] += np.float32(1e-2)
    whole = check(network, recorded, "float32")
    monkeypatch.setattr(rounding, "_LEAST_ROWS", 1)
    monkeypatch.setattr(rounding, "_BLOCK_BYTES", 2 * 8 * network.layers[0].directions[0].kernel[:, 0].size)
    parts = check(network, recorded, "float32")
    assert whole is not None and parts is not None and whole.onset == parts.onset == ("layer 0", 7)
    assert (whole.at, whole.beyond, whole.checked) == (parts.at, parts.beyond, parts.checked)
    assert parts.used == pytest.approx(whole.used, rel=1e-6)


def test_layers_of_several_kinds_are_each_judged() -> None:
    network = mixed()
    given = all_batches(network)
    runs = [as_float32(each) for each in reference.run(network, given).runs.values()]
    budget = check(network, runs, "float32")
    assert budget is not None and budget.holds
    gru = network.layers[1]
    swapped = replace(gru, directions=tuple(d.mapped(lambda w: w[[1, 0, 2]]) for d in gru.directions))
    other = replace(network, layers=(network.layers[0], swapped, network.layers[2]))
    found = check(network, [as_float32(each) for each in reference.run(other, given).runs.values()], "float32")
    assert found is not None and not found.holds and found.onset is not None and found.onset[0] == "layer 1 reverse"


def as_float32(found: Run) -> Run:
    h_n, states, c_n = (tuple(s.astype(np.float32) for s in each) for each in (found.h_n, found.states, found.c_n))
    return Run(found.batch, found.y.astype(np.float32), h_n, states, c_n)


@pytest.mark.parametrize("name", NETWORKS)
def test_final_states_of_another_correct_run_follow(name: str) -> None:
    """A recording may hold y of one run and h_n of another, each with its own rounding."""
    network = NETWORKS[name]
    for batch in all_batches(network):
        recorded, other = (run(network.layers[0], sums, batch) for sums in (SUMS[0], SUMS[-1]))
        y = recorded.y.copy()
        y[:, -1] = other.y[:, -1] if batch.x.shape[1] == 1 else y[:, -1]
        budget = check(network, [replace(recorded, y=y, h_n=other.h_n, c_n=other.c_n)], "float32")
        assert budget is not None and budget.holds
        wrong = replace(recorded, h_n=(other.h_n[0] * np.float32(1.001),))
        found = check(network, [wrong], "float32")
        assert found is not None and not found.holds and found.where == "final state of layer 0"


@pytest.mark.parametrize("seed", range(5))
def test_a_state_shows_the_cell_state_behind_it(seed: int) -> None:
    network = gated("lstm", 5, 6, seed=seed)
    (layer,) = network.layers
    (d,) = layer.directions
    x = np.random.default_rng(seed).normal(size=(20, 2, 5)).astype(np.float32)
    for order in engines.ORDERS:
        made = engines.run(network, [Batch(ZERO, x)], order).runs[ZERO]
        judge = LstmStep(layer, d, d.bias_magnitude, "float32", None)
        terms = np.concatenate([x[:, 1], made.y[:, 0]], axis=1).astype(np.float64)
        with np.errstate(all="ignore"):
            c, off = judge.shown_cell(terms, made.y[:, 1].astype(np.float64), np.arctanh)
        assert np.all(np.abs(made.c_n[0] - c) <= off)
        assert np.median(off) < 1e-4


def test_a_cell_state_that_is_known_to_within_something_is_not_blamed() -> None:
    network = gated("lstm", 5, 6)
    batch = all_batches(network)[0]
    (run,) = reference.run(network, [batch]).runs.values()
    (steps,) = recorded_steps(network, run)
    c0 = np.full((len(run.y), 6), 1e-3)
    assert not explains_steps(replace(steps, c0=c0), "float32")
    assert explains_steps(replace(steps, c0=c0, c0_off=c0), "float32")
