"""Each mistake changes what it names, and only what it can."""

from __future__ import annotations

import numpy as np
import pytest
from networks import bidirectional, single, stacked

from rnnverify.adequacy import Examiner
from rnnverify.canonical import Direction, Layer, Network
from rnnverify.inputs import InputOptions, make_batches
from rnnverify.mistakes import MISTAKES, planted, recurrent_transposed
from rnnverify.probes import make_probes
from rnnverify.trace import ZERO, Batch

NETWORKS = {
    "single": single(5, 8),
    "square": single(8, 8),
    "relu": single(5, 8, activation="relu"),
    "linear": single(5, 8, activation="linear"),
    "bidirectional": bidirectional(5, 8),
    "summed": bidirectional(8, 8, merge="sum"),
    "stacked": stacked(8, [8, 8]),
}


def symmetric() -> Network:
    """One layer whose recurrent kernel is its own transpose, and whose biases are zero."""
    d = single(5, 8).layers[0].directions[0]
    square = d.recurrent_kernel + d.recurrent_kernel.swapaxes(1, 2)
    zero = np.zeros_like(d.bias_input)
    return Network((Layer((Direction(d.kernel, square, zero, zero),)),))


def test_every_mistake_says_what_it_is_and_applies_somewhere() -> None:
    said = {words for network in NETWORKS.values() for words, _ in planted(network)}
    assert said == {(mistake.__doc__ or "").strip() for mistake in MISTAKES} and "" not in said


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_planted_network_is_another_one_of_the_same_outputs(network: Network) -> None:
    for _, wrong in planted(network):
        assert wrong.fingerprint() != network.fingerprint()
        assert (wrong.input_size, wrong.output_size) == (network.input_size, network.output_size)


def test_what_changes_nothing_is_no_mistake() -> None:
    assert recurrent_transposed(symmetric()) is not None
    words = [words for words, _ in planted(symmetric())]
    assert not any("recurrent kernel is transposed" in each or "bias" in each for each in words)
    assert len(words) < len(list(planted(single(5, 8))))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_the_usual_inputs_show_every_mistake(network: Network) -> None:
    batches = make_batches(InputOptions(), network)
    found = Examiner(batches).examine(network, "float32")
    assert found.planted >= 12 and found.survivors == ()


def test_poor_inputs_do_not() -> None:
    network = single(5, 8)
    one_step = make_batches(InputOptions(steps=1), network)[:1]
    hidden = Examiner(one_step).examine(network, "float32").survivors
    assert "the recurrent kernel is transposed" in hidden and "the recurrent kernel is not loaded" in hidden
    zeros = [Batch(ZERO, np.zeros((2, 4, 5), np.float32))]
    assert (
        "the input kernel is reshaped where it should be transposed"
        in Examiner(zeros).examine(network, "float32").survivors
    )


def test_a_late_difference_is_looked_for_in_all_inputs() -> None:
    network = single(5, 8)
    x = np.zeros((1, 40, 5), np.float32)
    x[:, 30:] = np.random.default_rng(0).normal(size=(1, 10, 5))
    assert Examiner([Batch(ZERO, x)]).examine(network, "float32").survivors == ()


def test_probes_hold_one_number_each() -> None:
    network = single(5, 8)
    probes = make_probes(network)
    assert probes is not None and probes.h0 is not None
    both = np.concatenate([probes.x[:, 0], probes.h0[0]], axis=1)
    assert set(np.count_nonzero(both, axis=1)) == {0, 1} and not both[0].any()
    values = both[both != 0]
    assert set(np.frexp(np.abs(values))[0]) == {0.5}  # powers of two, so that products are exact
    for column in both.T:
        assert {np.sign(value) for value in column} == {-1, 0, 1}


def test_probes_of_a_network_too_large_are_fewer_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    network = single(5, 8)
    full = make_probes(network)
    monkeypatch.setattr("rnnverify.probes._ELEMENTS", 1000)
    fewer = make_probes(network)
    assert full is not None and fewer is not None and fewer.x.shape[0] < full.x.shape[0]
    monkeypatch.setattr("rnnverify.probes._ELEMENTS", 100)
    assert make_probes(network) is None
