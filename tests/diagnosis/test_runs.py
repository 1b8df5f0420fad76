"""Mistakes in how a right network is run, and in what is done with its outputs."""

from collections.abc import Callable
from dataclasses import replace

import engines
import numpy as np
import pytest
from networks import batches, bidirectional, single, stacked
from sides import model, names, recorded, remade

from rnnverify.canonical import Network
from rnnverify.diagnosis import diagnose
from rnnverify.observed import Observed
from rnnverify.trace import FROM_H0, ZERO, Batch, Run, Trace

NETWORK = single(5, 8)
BATCHES = batches(NETWORK, 4, 9)
BOTH = bidirectional(5, 6)


def ran(network: Network, batch: Batch) -> Run:
    return engines.run(network, [batch], "naive").runs[batch.name]


def swapped(network: Network, batch: Batch) -> Run:
    run = ran(network, Batch(ZERO, batch.x.swapaxes(0, 1)))
    return Run(batch, run.y.swapaxes(0, 1))


def viewed(network: Network, batch: Batch) -> Run:
    B, T, I = batch.x.shape
    return Run(batch, ran(network, Batch(ZERO, batch.x.reshape(T, B, I).swapaxes(0, 1))).y)


def carried(network: Network, batch: Batch) -> Run:
    return replace(ran(network, replace(batch, h0=ran(network, batch).h_n)), batch=batch)


def one_by_one(network: Network, batch: Batch) -> Run:
    state: tuple[np.ndarray, ...] | None = None
    outputs = []
    for x in batch.x:
        run = ran(network, Batch(ZERO, x[None], state))
        outputs.append(run.y)
        state = run.h_n
    return Run(batch, np.concatenate(outputs))


def started_elsewhere(network: Network, batch: Batch) -> Run:
    return replace(ran(network, replace(batch, h0=BATCHES[1].h0)), batch=batch)


FROM_ZEROS: dict[str, tuple[Callable[[Network, Batch], Run], str]] = {
    "batch and time": (swapped, "batch and time are swapped"),
    "view": (viewed, "x is reshaped to (T, B, I) where it should be transposed"),
    "an earlier call": (carried, "the state is carried over from the sequence before"),
    "one sequence to the next": (one_by_one, "the state is carried over from the sequence before"),
    "another start": (started_elsewhere, "the initial state is not zero"),
}


@pytest.mark.parametrize(("make", "name"), FROM_ZEROS.values(), ids=FROM_ZEROS.keys())
def test_a_run_from_zeros(make: Callable[[Network, Batch], Run], name: str) -> None:
    wrong = Observed("B", None, Trace({ZERO: make(NETWORK, BATCHES[0])}), None)
    (finding,) = diagnose(model("A", NETWORK, BATCHES), wrong)
    assert (finding.name, finding.proof, finding.side) == (name, "confirmed", "B")
    assert finding.after is not None and finding.after < 1e-5


def test_a_right_run_is_none_of_them() -> None:
    assert diagnose(model("A", NETWORK, BATCHES), recorded("B", NETWORK, BATCHES)) == ()


def test_an_initial_state_that_is_ignored() -> None:
    runs = {ZERO: ran(NETWORK, BATCHES[0]), FROM_H0: replace(ran(NETWORK, BATCHES[0]), batch=BATCHES[1])}
    wrong = Observed("B", None, Trace(runs), None)
    assert names(diagnose(model("A", NETWORK, BATCHES), wrong)) == ["the initial state is ignored"]


def test_a_file_that_was_run_wrongly() -> None:
    """Both weights are known and equal, and the framework did something else."""
    right = model("A", NETWORK, BATCHES[:1])
    wrong = replace(right, label="B", trace=Trace({ZERO: swapped(NETWORK, BATCHES[0])}))
    assert names(diagnose(right, wrong)) == ["batch and time are swapped"]


def test_layers_that_all_read_the_input() -> None:
    network = stacked(6, [6, 6])
    given = batches(network, 4, 9)
    runs = {}
    for batch in given:
        starts = [None] * 2 if batch.h0 is None else [(h,) for h in batch.h0]
        parts = [
            ran(Network((layer,)), replace(batch, h0=h0)).y for layer, h0 in zip(network.layers, starts, strict=True)
        ]
        runs[batch.name] = Run(batch, parts[-1], (), tuple(parts))
    found = diagnose(model("A", network, given), Observed("B", None, Trace(runs), None))
    assert names(found) == ["every layer reads the input, not the layer below"]


def test_a_final_state_taken_from_the_last_step() -> None:
    given = batches(BOTH, 4, 9)
    wrong = remade("B", BOTH, given, lambda run: replace(run, h_n=(run.h_n[0], run.y[:, -1, 6:])))
    found = diagnose(model("A", BOTH, given), wrong)
    assert names(found) == ["the final state of the reverse direction is taken from the last step"]


@pytest.mark.parametrize("held", ["repeated", "zeros"])
def test_padding_that_is_masked_on_one_side(held: str) -> None:
    x = BATCHES[0].x.copy()
    x[:2, 5:] = 0
    batch = Batch(ZERO, x)
    run = ran(NETWORK, batch)
    run.y[:2, 5:] = run.y[:2, 4:5] if held == "repeated" else 0
    wrong = Observed("B", None, Trace({ZERO: replace(run, h_n=())}), None)
    assert names(diagnose(model("A", NETWORK, [batch]), wrong)) == ["padded steps are masked on one side only"]


def turned(run: Run) -> Run:
    return replace(run, y=run.y[:, ::-1], h_n=(), states=())


def doubled(run: Run) -> Run:
    return replace(run, y=np.tanh(run.y), h_n=(), states=())


def dropped(run: Run) -> Run:
    keep = np.random.default_rng(0).uniform(size=run.y.shape) < 0.8
    return replace(run, y=np.where(keep, run.y / np.float32(0.8), np.float32(0)), h_n=())


OUTPUTS: dict[str, tuple[Network, Callable[[Run], Run], str]] = {
    "doubled": (NETWORK, doubled, "the activation is applied twice to the outputs"),
    "last": (
        NETWORK,
        lambda run: replace(run, y=np.repeat(run.y[:, -1:], 9, axis=1), h_n=()),
        "every step holds the output of the last",
    ),
    "late": (
        NETWORK,
        lambda run: replace(run, y=np.concatenate([0 * run.y[:, :1], run.y[:, :-1]], axis=1), h_n=()),
        "the outputs are one step late, or early",
    ),
    "dropout": (NETWORK, dropped, "dropout is active"),
    "halves": (
        BOTH,
        lambda run: replace(run, y=np.roll(run.y, 6, axis=2), h_n=(), states=()),
        "the backward half of the outputs comes first",
    ),
    "interleaved": (
        BOTH,
        lambda run: replace(run, y=run.y.reshape(4, 9, 2, 6).swapaxes(2, 3).reshape(4, 9, 12), h_n=(), states=()),
        "the outputs of the two directions are interleaved",
    ),
    "turned": (BOTH, turned, "the outputs are turned round in time"),
}


@pytest.mark.parametrize(("network", "change", "name"), OUTPUTS.values(), ids=OUTPUTS.keys())
def test_what_is_done_with_right_outputs(network: Network, change: Callable[[Run], Run], name: str) -> None:
    given = batches(network, 4, 9)
    wrong = remade("B", network, given, change)
    for right in (model("A", network, given), recorded("A", network, given)):
        (finding,) = diagnose(right, wrong)
        assert (finding.name, finding.proof, finding.side) == (name, "confirmed", "B")


def test_two_recordings_of_different_networks_get_no_cause() -> None:
    assert diagnose(recorded("A", NETWORK, BATCHES), recorded("B", single(5, 8, seed=7), BATCHES)) == ()
    assert diagnose(recorded("A", NETWORK, BATCHES), recorded("B", NETWORK, BATCHES)) == ()
