"""The weight that is wrong is named; correct runs, and mistakes of many weights, name none."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import engines
import numpy as np
import pytest
from networks import bidirectional, edited, single, stacked
from observed import BATCHES, EXACT, NETWORK, model

from rnnverify.adequacy import Examiner
from rnnverify.canonical import Array, Layer, Network
from rnnverify.inputs import InputOptions, make_batches
from rnnverify.judge import judge
from rnnverify.mistakes import bias_dropped, recurrent_transposed
from rnnverify.observed import Observed
from rnnverify.probes import make_probes
from rnnverify.suspects import Suspect, sentences, suspects
from rnnverify.trace import Batch, Run


def runs_of(wrong: Network, order: engines.Order, *, probes: bool = True, dtype: str = "float32") -> list[Run]:
    given: tuple[Batch, ...] = make_batches(InputOptions(), wrong)
    probe = make_probes(wrong)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # states that overflow
        return list(engines.run(wrong, (*given, probe) if probes and probe else given, order, dtype).runs.values())


def tamed(network: Network) -> Network:
    """Recurrent weights as they are trained: of a size that falls with H."""
    d = network.layers[0].directions[0]
    return edited(network, recurrent_kernel=d.recurrent_kernel / np.float32(np.sqrt(d.hidden_size)))


def off(network: Network, by: float, tensor: str, *index: int) -> Network:
    array = getattr(network.layers[0].directions[0], tensor).copy()
    array[0][index] += np.float32(by)
    return edited(network, **{tensor: array})


@pytest.mark.parametrize("order", engines.ORDERS)
@pytest.mark.parametrize(
    "activation", ["tanh", "relu", "sigmoid", "softsign", "mish", "hard_sigmoid", "selu", "linear"]
)
def test_correct_runs_raise_no_alarm(activation: str, order: engines.Order) -> None:
    for H in (1, 4, 16, 64):
        for seed in range(2):
            network = tamed(single(5, H, seed=seed, activation=activation))
            for probes in (True, False):
                assert suspects(network, runs_of(network, order, probes=probes), "float32") == ()


@pytest.mark.parametrize("order", engines.ORDERS)
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_dtypes_raise_none_either(order: engines.Order, dtype: str) -> None:
    network = tamed(single(5, 16, seed=1))
    assert suspects(network, runs_of(network, order, dtype=dtype), dtype) == ()


@pytest.mark.parametrize("by", [0.1, -1e-3, 1e-5])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "gelu"])
def test_one_weight_is_named_with_what_it_is_off_by(activation: str, by: float) -> None:
    network = tamed(single(5, 24, seed=1, activation=activation))
    for tensor, name, index in (
        ("kernel", "kernel", (3, 17)),
        ("recurrent_kernel", "recurrent kernel", (5, 2)),
        ("bias_input", "bias", (3,)),
    ):
        (found,) = suspects(network, runs_of(off(network, by, tensor, *index), "split"), "float32")
        assert (found.where, found.tensor, found.index) == ("layer 0", name, index)
        assert found.off_by == pytest.approx(by, rel=0.05)


@pytest.mark.parametrize(
    "make", [lambda: stacked(5, (12, 8)), lambda: bidirectional(5, 12), lambda: bidirectional(5, 12, merge="sum")]
)
def test_layers_and_directions_are_told_apart(make: Callable[[], Network]) -> None:
    network = make()
    layer = network.layers[-1]
    last = layer.directions[-1]
    kernel = last.kernel.copy()
    kernel[0, 1, 2] += np.float32(1e-3)
    changed = replace(layer, directions=(*layer.directions[:-1], replace(last, kernel=kernel)))
    wrong = Network((*network.layers[:-1], changed))
    (found,) = suspects(network, runs_of(wrong, "fused"), "float32")
    where = list(network.directions())[-1][0]
    assert (found.where, found.tensor, found.index) == (where, "kernel", (1, 2))


def test_mistakes_of_many_weights_name_none() -> None:
    network = tamed(single(5, 8, seed=2))
    relu = Network((Layer(network.layers[0].directions, "relu"),))
    for wrong in (recurrent_transposed(network), bias_dropped(network), relu):
        assert wrong and suspects(network, runs_of(wrong, "split"), "float32") == ()
    few = tamed(single(2, 2, seed=2))
    assert suspects(few, runs_of(Network((Layer(few.layers[0].directions, "relu"),)), "split"), "float32") == ()


def test_a_few_weights_are_all_named() -> None:
    network = tamed(single(5, 16, seed=3))
    wrong = off(off(off(network, 1e-2, "kernel", 0, 3), -2e-2, "recurrent_kernel", 7, 3), 3e-3, "bias_input", 9)
    found = suspects(network, runs_of(wrong, "split"), "float32")
    assert {(s.tensor, s.index) for s in found} == {("kernel", (0, 3)), ("recurrent kernel", (7, 3)), ("bias", (9,))}
    assert suspects(network, runs_of(off(wrong, 0.1, "bias_input", 4), "split"), "float32") == ()


def test_states_that_are_not_finite_or_not_recorded_are_left_out() -> None:
    network = tamed(single(5, 8, seed=4))
    runs = runs_of(off(network, 1e-3, "kernel", 1, 2), "split")
    runs[0].y[0, 3:] = np.nan
    (found,) = suspects(network, runs, "float32")
    assert found.index == (1, 2)
    deep = stacked(5, (6, 8))
    silent = [replace(run, states=()) for run in runs_of(deep, "split")]
    assert suspects(deep, silent, "float32") == ()


def test_the_sentence_names_tensor_place_and_both_sides() -> None:
    found = [
        Suspect("layer 0", "recurrent kernel", (3, 17), 1.234e-3, 0.3127),
        Suspect("layer 1", "bias", (4,), -0.5, 0),
    ]
    assert list(sentences(found, "B", "A")) == [
        "recurrent kernel [3, 17] of layer 0 seems to be off by 0.0012 in B (A has 0.313)",
        "bias [4] of layer 1 seems to be off by -0.5 in B (A has 0)",
    ]


def test_a_recording_that_differs_says_which_weight() -> None:
    given = make_batches(InputOptions(), NETWORK)

    def recording(label: str, network: Network) -> Observed:
        return Observed(label, None, engines.run(network, given, "split"), None)

    wrong = off(NETWORK, 1e-3, "kernel", 1, 2)
    pair = judge(model("A", NETWORK, given), recording("B", wrong), Examiner(given), EXACT)
    (said,) = [reason for reason in pair.reasons if "seems to be off" in reason]
    assert pair.verdict == "DIFFERENT" and said.startswith(
        "kernel [1, 2] of layer 0 seems to be off by 0.001 in B (A has "
    )
    pair = judge(recording("A", wrong), model("B", NETWORK, given), Examiner(given), EXACT)
    assert any("0.001 in A (B has " in reason for reason in pair.reasons)
    both_known = judge(model("A", NETWORK), model("B", wrong), Examiner(BATCHES), EXACT)
    assert not any("seems" in reason for reason in both_known.reasons)  # the table of weights says it


def test_long_runs_are_thinned_out() -> None:
    network = tamed(single(5, 8, seed=5))
    wrong = off(network, 1e-3, "recurrent_kernel", 1, 2)
    x: Array = np.random.default_rng(0).normal(size=(2, 120_000, 5)).astype(np.float32)
    (found,) = suspects(network, list(engines.run(wrong, [Batch("zero", x)], "split").runs.values()), "float32")
    assert found.index == (1, 2) and found.off_by == pytest.approx(1e-3, rel=0.01)
