"""Mistakes of gated cells: each changes what it names, and the usual inputs show it."""

import pytest
from networks import gated, mixed, single

from rnnverify.adequacy import Adequacy, Examiner
from rnnverify.canonical import Network
from rnnverify.gate_mistakes import GATE_MISTAKES
from rnnverify.inputs import InputOptions, make_batches
from rnnverify.mistakes import MISTAKES, planted
from rnnverify.probes import make_probes

NETWORKS = {
    "gru": gated("gru", 5, 8),
    "gru, reset before": gated("gru", 5, 8, reset_after=False),
    "gru of Keras 2": gated("gru", 5, 8, activation="keras2_hard_sigmoid"),
    "lstm": gated("lstm", 5, 8),
    "lstm with peepholes": gated("lstm", 5, 8, P=4, peepholes=True),
    "mixed": mixed(),
}


def test_every_mistake_says_what_it_is_and_applies_somewhere() -> None:
    said = {words for network in NETWORKS.values() for words, _ in planted(network, GATE_MISTAKES)}
    assert said == {(mistake.__doc__ or "").strip() for mistake in GATE_MISTAKES} and "" not in said


@pytest.mark.parametrize("name", NETWORKS)
def test_a_planted_network_is_another_one_of_the_same_outputs(name: str) -> None:
    network = NETWORKS[name]
    for _, wrong in planted(network, (*MISTAKES, *GATE_MISTAKES)):
        assert wrong.fingerprint() != network.fingerprint()
        assert (wrong.input_size, wrong.output_size) == (network.input_size, network.output_size)


def test_a_network_without_gates_has_none() -> None:
    assert not list(planted(single(), GATE_MISTAKES))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_usual_inputs_show_every_mistake(name: str) -> None:
    found = _examined(NETWORKS[name], steps=32)
    assert found.planted >= 15 and found.survivors == ()


def test_one_step_from_zero_states_does_not() -> None:
    zero, _ = make_batches(InputOptions(steps=1), NETWORKS["lstm"])
    survivors = Examiner([zero]).examine(NETWORKS["lstm"], "float32").survivors
    assert "the forget bias of 1 that is added at run time is missing" in survivors


def _examined(network: Network, steps: int) -> Adequacy:
    probes = make_probes(network)
    assert probes is not None
    return Examiner([*make_batches(InputOptions(steps=steps), network), probes]).examine(network, "float32")
