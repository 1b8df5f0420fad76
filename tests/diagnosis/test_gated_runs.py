"""Mistakes in how a right network with gates is run, cell states included."""

from collections.abc import Callable
from dataclasses import replace

import engines
import numpy as np
import pytest
from networks import batches, gated, mixed
from sides import model, names

from rnnverify import mistakes, reference
from rnnverify.canonical import Network
from rnnverify.diagnosis import diagnose
from rnnverify.diagnosis.together import outputs
from rnnverify.gate_mistakes import GATE_MISTAKES
from rnnverify.mistakes import planted
from rnnverify.observed import Observed
from rnnverify.trace import FROM_H0, ZERO, Batch, Run, Trace

NETWORKS = {"gru": gated("gru", 5, 8), "lstm": gated("lstm", 5, 8)}


def ran(network: Network, batch: Batch) -> Run:
    return engines.run(network, [batch], "naive").runs[batch.name]


def swapped(network: Network, batch: Batch) -> Run:
    return Run(batch, ran(network, Batch(ZERO, batch.x.swapaxes(0, 1))).y.swapaxes(0, 1))


def carried(network: Network, batch: Batch) -> Run:
    first = ran(network, batch)
    return replace(ran(network, replace(batch, h0=first.h_n, c0=first.c_n or None)), batch=batch)


def one_by_one(network: Network, batch: Batch) -> Run:
    last: Run | None = None
    found = []
    for x in batch.x:
        start = (last.h_n, last.c_n or None) if last else (None, None)
        last = ran(network, Batch(ZERO, x[None], *start))
        found.append(last.y)
    return Run(batch, np.concatenate(found))


CARRIED = "the state is carried over from the sequence before"
WRONG: dict[str, tuple[Callable[[Network, Batch], Run], str]] = {
    "batch and time": (swapped, "batch and time are swapped"),
    "an earlier call": (carried, CARRIED),
    "one sequence to the next": (one_by_one, CARRIED),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
@pytest.mark.parametrize(("make", "name"), WRONG.values(), ids=WRONG.keys())
def test_a_run_from_zeros(make: Callable[[Network, Batch], Run], name: str, network: Network) -> None:
    given = batches(network, 4, 9)
    wrong = Observed("B", None, Trace({ZERO: make(network, given[0])}), None)
    (finding,) = diagnose(model("A", network, given), wrong)
    assert (finding.name, finding.proof, finding.side) == (name, "confirmed", "B")


def from_states(change: Callable[[Batch], Batch]) -> list[str]:
    network = NETWORKS["lstm"]
    given = batches(network, 4, 9)
    runs = {ZERO: ran(network, given[0]), FROM_H0: replace(ran(network, change(given[1])), batch=given[1])}
    found = diagnose(model("A", network, given), Observed("B", None, Trace(runs), None))
    return [*names(found), *(finding.where for finding in found)]


def test_initial_states_of_an_lstm() -> None:
    zeros = (np.zeros((4, 8), np.float32),)
    ignored = "the initial state is ignored"
    assert from_states(lambda batch: batch) == []
    assert from_states(lambda batch: replace(batch, h0=None, c0=None)) == [ignored, ""]
    assert from_states(lambda batch: replace(batch, c0=None)) == [ignored, "that of c"]
    assert from_states(lambda batch: replace(batch, h0=zeros)) == [ignored, "that of h"]
    exchanged = from_states(lambda batch: replace(batch, h0=batch.c0, c0=batch.h0))
    assert exchanged == ["the initial states h and c are exchanged", ""]


RUN_TOGETHER = {
    **NETWORKS,
    "before": gated("gru", 5, 8, reset_after=False),
    "peepholes": gated("lstm", 8, 8, peepholes=True, cell_clip=0.5),
    "projected": gated("lstm", 5, 8, P=6),
    "mixed": mixed(),
}


@pytest.mark.parametrize("network", RUN_TOGETHER.values(), ids=RUN_TOGETHER.keys())
def test_networks_run_side_by_side_are_what_the_reference_runs_one_by_one(network: Network) -> None:
    networks = [network, *(wrong for _, wrong in planted(network, (*GATE_MISTAKES, *mistakes.MISTAKES)))]
    for batch in batches(network, 3, 7):
        wanted = np.stack([reference.run(each, [batch]).runs[batch.name].y for each in networks])
        assert np.allclose(outputs(networks, batch), wanted, rtol=0, atol=1e-12)
