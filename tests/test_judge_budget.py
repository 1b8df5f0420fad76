"""Verdicts that rest on the rounding budget: chaos, sides that are off by themselves, and states that are missing."""

from dataclasses import replace

import engines
import numpy as np
import pytest
from engines import Order
from networks import batches, bidirectional, edited, single, stacked
from observed import BATCHES, EXACT, NETWORK, against, model, nudged, recorded, shifted, with_states

from rnnverify import reference
from rnnverify.adequacy import Examiner
from rnnverify.canonical import Network
from rnnverify.judge import judge
from rnnverify.observed import Observed
from rnnverify.trace import FROM_H0, ZERO, Batch, Trace


def ran(label: str, network: Network, given: tuple[Batch, ...], order: Order, runs: Network | None = None) -> Observed:
    """A side whose file holds `network`, and whose engine computes `runs`."""
    return Observed(label, network, engines.run(runs or network, given, order), reference.run(network, given))


def without_states(side: Observed) -> Observed:
    runs = {name: replace(run, states=()) for name, run in side.trace.runs.items()}
    return replace(side, trace=replace(side.trace, runs=runs))


def as_trace(side: Observed) -> Observed:
    return replace(side, network=None, reference=None)


@pytest.fixture(scope="module")
def chaotic() -> tuple[Network, tuple[Batch, ...]]:
    network = single(3, 64, seed=7)
    d = network.layers[0].directions[0]
    radius = np.float32(3 / (0.5 * 8))
    network = edited(network, recurrent_kernel=d.recurrent_kernel * radius)
    return network, batches(network, B=2, T=200)


def test_two_orders_of_summation_in_a_chaotic_network_are_equivalent(
    chaotic: tuple[Network, tuple[Batch, ...]],
) -> None:
    network, given = chaotic
    pair = judge(ran("A", network, given, "split"), ran("B", network, given, "naive"), Examiner(given), EXACT)
    assert pair.verdict == "EQUIVALENT"
    assert pair.headline.deviation.max_abs > 0.5
    assert pair.reasons[0] == "every step is explained by rounding, and the weights are equal"
    parted = [m.deviation.first_step for m in pair.measured if m.output == "y"]
    step = min(first for first in parted if first is not None)
    assert 5 < step < 100
    assert pair.reasons[1].startswith(f"the sides part from step {step} on: this network amplifies rounding")
    for budget in (*pair.budgets, *pair.own_budgets):
        assert budget and budget.holds and 0 < budget.used < 1


def test_a_chaotic_network_that_is_wrong_is_different(chaotic: tuple[Network, tuple[Batch, ...]]) -> None:
    network, given = chaotic
    d = network.layers[0].directions[0]
    recurrent = d.recurrent_kernel.copy()
    recurrent[0, 3, 4] *= np.float32(1.01)
    wrong = edited(network, recurrent_kernel=recurrent)
    candidate = as_trace(ran("B", wrong, given, "naive"))
    assert judge(ran("A", network, given, "split"), candidate, Examiner(given), EXACT).verdict == "DIFFERENT"


def test_a_side_that_departs_from_its_own_weights_is_named() -> None:
    linear = NETWORK.with_activations(("linear",))
    pair = against(ran("B", NETWORK, BATCHES, "split", runs=linear))
    assert pair.verdict == "DIFFERENT"
    assert pair.reasons[-1].startswith("B departs from the weights of its own file, by ")
    assert pair.reasons[-1].endswith("the file may hold an attribute that is not supported, or be read wrongly")
    assert pair.own_budgets[0] and pair.own_budgets[0].holds
    assert pair.own_budgets[1] and not pair.own_budgets[1].holds
    a, b = (ran(label, NETWORK, BATCHES, "split", runs=linear) for label in "AB")
    both = judge(a, b, Examiner(BATCHES), EXACT)
    assert both.verdict == "DIFFERENT"
    assert [reason.split(" departs")[0] for reason in both.reasons[-2:]] == ["A", "B"]


def test_a_side_that_follows_its_own_weights_is_not_blamed_for_them() -> None:
    pair = against(ran("B", nudged(0.5), BATCHES, "fused"), baseline=ran("A", NETWORK, BATCHES, "split"))
    assert pair.verdict == "DIFFERENT"
    assert not any("departs" in reason for reason in pair.reasons)
    assert pair.budgets[1] and not pair.budgets[1].holds
    assert pair.own_budgets[1] and pair.own_budgets[1].holds


@pytest.mark.parametrize("network", [stacked(3, [4, 4]), bidirectional(3, 4, merge="sum")])
def test_states_that_are_missing_leave_the_rule(network: Network) -> None:
    given = batches(network)
    a, b = (ran(label, network, given, order) for label, order in (("A", "split"), ("B", "naive")))  # type: ignore[arg-type]
    whole = judge(a, b, Examiner(given), EXACT)
    assert all(whole.budgets) and whole.reasons[0].startswith("every step is explained by rounding")
    pair = judge(a, without_states(b), Examiner(given), EXACT)
    assert pair.verdict == "EQUIVALENT"
    assert pair.budgets[0] and pair.budgets[1] is None and pair.own_budgets[1] is None
    assert pair.reasons[0] == "every deviation is within the rule, and the weights are equal"
    wrong = judge(a, with_states(without_states(b), shifted(1e-3)), Examiner(given), EXACT)
    assert (wrong.verdict, wrong.reasons[0]) == ("DIFFERENT", "the deviation is beyond what rounding explains")


def test_a_merged_layer_below_the_top_has_a_budget_too() -> None:
    network = Network((*bidirectional(3, 4, merge="sum").layers, *single(4, 4).layers))
    given = batches(network)
    pair = judge(ran("A", network, given, "split"), ran("B", network, given, "naive"), Examiner(given), EXACT)
    assert all(budget and budget.holds for budget in pair.budgets)


@pytest.mark.parametrize("trace_first", [False, True])
def test_a_trace_is_held_against_the_weights_of_the_model(trace_first: bool) -> None:
    modelled, trace = ran("M", NETWORK, BATCHES, "split"), as_trace(ran("T", NETWORK, BATCHES, "naive"))
    other = as_trace(ran("T", nudged(1e-2), BATCHES, "naive"))
    for recorded_side, verdict in ((trace, "EQUIVALENT"), (other, "DIFFERENT")):
        sides = (recorded_side, modelled) if trace_first else (modelled, recorded_side)
        pair = judge(*sides, Examiner(BATCHES), EXACT)
        assert pair.verdict == verdict
        assert all(budget is not None for budget in pair.budgets)
        assert sum(budget is None for budget in pair.own_budgets) == 1
        held = pair.budgets[0 if trace_first else 1]
        assert held and held.holds == (verdict == "EQUIVALENT")


def test_two_traces_have_no_weights_to_be_held_against() -> None:
    pair = against(with_states(recorded("B", NETWORK), shifted(1e-6)), baseline=recorded("A", NETWORK))
    assert (pair.verdict, pair.budgets, pair.own_budgets) == ("EQUIVALENT", (None, None), (None, None))
    assert pair.reasons == ("every deviation is within the rule",)


def test_networks_of_other_structure_have_no_common_budget() -> None:
    other = NETWORK.with_activations(("relu",))
    backwards = edited(NETWORK, reverse=True)
    assert against(model("B", other)).budgets[1] is not None
    pair = against(model("B", backwards))
    assert (pair.verdict, pair.budgets) == ("DIFFERENT", (None, None))
    assert all(budget and budget.holds for budget in pair.own_budgets)


@pytest.mark.parametrize("name", [ZERO, FROM_H0])
def test_final_states_that_do_not_follow_from_the_steps_are_different(name: str) -> None:
    """Every step of y may hold while h_n is wrong: an engine that returns the last state of the padding, say."""
    side = ran("B", NETWORK, BATCHES, "naive")
    run = side.trace.runs[name]
    wrong = replace(run, h_n=(run.h_n[0] + np.float32(0.1),))
    broken = replace(side, trace=Trace({**side.trace.runs, name: wrong}))
    assert against(broken, baseline=ran("A", NETWORK, BATCHES, "split")).verdict == "DIFFERENT"
