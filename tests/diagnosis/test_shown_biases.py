"""Biases of gated cells that are in no file are read off recorded states, and named where nothing else is wrong."""

from __future__ import annotations

from dataclasses import replace

import engines
import numpy as np
import pytest
from networks import batches, gated, mixed
from sides import names, original, port

from rnnverify import mistakes
from rnnverify.canonical import Network
from rnnverify.diagnosis import shown_biases as shown
from rnnverify.diagnosis.shown_biases import shown_biases
from rnnverify.trace import Run

NETWORKS = {
    "gru": gated("gru", 5, 8),
    "gru, reset before": gated("gru", 5, 8, seed=1, reset_after=False),
    "gru of keras 2": gated("gru", 5, 8, seed=1, activation="keras2_hard_sigmoid"),
    "lstm": gated("lstm", 5, 8, seed=2),
    "lstm, peepholes": gated("lstm", 5, 8, seed=4, peepholes=True),
    "lstm, projected": gated("lstm", 5, 8, seed=5, P=6),
    "mixed": mixed(seed=6),
}
KINDS = pytest.mark.parametrize("kind", NETWORKS)


def runs_of(network: Network) -> list[Run]:
    return list(engines.run(network, batches(network, 4, 9), "split").runs.values())


def without(network: Network) -> Network:
    found = mistakes.bias_dropped(network)
    assert found is not None
    return found


@KINDS
def test_the_biases_are_those_that_were_there(kind: str) -> None:
    network, runs = NETWORKS[kind], runs_of(NETWORKS[kind])
    for k, ((_, layer, right), (_, _, bare)) in enumerate(
        zip(network.directions(), without(network).directions(), strict=True)
    ):
        if layer.cell == "rnn":
            continue
        found = shown_biases(without(network), runs, "float32", k)
        assert found is not None and found.kernel is bare.kernel
        np.testing.assert_allclose(found.bias, right.bias, atol=2e-5)
        if layer.cell == "gru" and layer.gating.reset_after:
            np.testing.assert_allclose(found.bias_recurrent[2], right.bias_recurrent[2], atol=2e-5)


@KINDS
def test_what_the_original_shows_is_named(kind: str) -> None:
    network = NETWORKS[kind]
    assert names(original(network, without(network))) == ["the bias is not loaded"]
    other = mistakes.each(network, lambda d: replace(d, bias_input=d.bias_input[..., ::-1].copy()))
    assert names(original(network, other)) == ["only the bias is another one"]
    assert names(port(network, other)) == ["only the bias is another one"]


@KINDS
def test_other_weights_are_no_bias(kind: str) -> None:
    network = NETWORKS[kind]
    other = mistakes.each(
        network, lambda d: replace(d, kernel=d.kernel + np.float32(0.01), bias_input=0 * d.bias_input)
    )
    assert names(original(network, other)) == []
    assert kind == "mixed" or names(port(network, other)) == []  # there it is slow


def test_nothing_is_made_up_where_states_or_time_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["mixed"]
    silent = [replace(run, states=()) for run in runs_of(network)]
    assert shown_biases(network, silent, "float32", 0) is None and shown_biases(network, [], "float32", 0) is None
    assert shown_biases(network, runs_of(network), "float32", 0) is not None
    monkeypatch.setattr(shown, "_MANY", 8)
    assert shown_biases(network, runs_of(network), "float32", 0) is None


def test_states_that_are_not_finite_are_left_out() -> None:
    network = NETWORKS["gru"]
    runs = runs_of(network)
    runs[0].y[0, 3] = np.nan
    found = shown_biases(without(network), runs, "float32", 0)
    assert found is not None
    np.testing.assert_allclose(found.bias, network.layers[0].directions[0].bias, atol=2e-5)
