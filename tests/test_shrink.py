"""A shrunk case still fails, and nothing of it could be left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import batches, bidirectional, edited, networks, single

from rnnverify import shrink as module
from rnnverify.canonical import Network
from rnnverify.deviation import Tolerance
from rnnverify.shrink import Judged, shrink
from rnnverify.trace import FROM_H0, ZERO, Batch


def quiet(network: Network) -> Network:
    """Without biases: nothing moves where the input is zero."""
    d = network.layers[0].directions[0]
    zeros = np.zeros_like(d.bias_input)
    return edited(network, bias_input=zeros, bias_recurrent=zeros)


def judged(baseline: Network, candidate: Network) -> Judged:
    return Judged(baseline, candidate, "float32", True, None)


def one(T: int, I: int, seed: int = 0) -> Batch:
    return Batch(ZERO, np.random.default_rng(seed).normal(size=(1, T, I)).astype(np.float32))


def test_one_weight_of_the_kernel_needs_one_step_and_one_input() -> None:
    network = quiet(single(6, 8))
    kernel = network.layers[0].directions[0].kernel.copy()
    kernel[0, 4, 2] += np.float32(0.1)
    small = shrink(judged(network, edited(network, kernel=kernel)), one(32, 6), 32)
    assert small is not None and small.x.shape == (1, 1, 6) and small.h0 is None
    assert np.flatnonzero(small.x).tolist() == [4]


def test_one_weight_of_the_recurrence_needs_two_steps_and_one_input() -> None:
    network = quiet(single(6, 8))
    recurrent = network.layers[0].directions[0].recurrent_kernel.copy()
    recurrent[0, 1, 5] += np.float32(0.1)
    wrong = edited(network, recurrent_kernel=recurrent)
    small = shrink(judged(network, wrong), one(32, 6), 1)
    assert small is not None and small.x.shape == (1, 2, 6)
    assert np.count_nonzero(small.x) == 1 and np.any(small.x[:, 0])
    # from a state of its own it takes one step, and no input
    given_states = replace(one(32, 6), name=FROM_H0, h0=(np.full((1, 8), 0.5, np.float32),))
    small = shrink(judged(network, wrong), given_states, 1)
    assert small is not None and small.h0 is not None and small.x.shape == (1, 1, 6)
    assert not np.any(small.x) and np.flatnonzero(small.h0[0]).tolist() == [1]


def test_a_bias_needs_no_input_and_no_state() -> None:
    network = single(3, 4)
    bias = network.layers[0].directions[0].bias_input + np.float32(0.1)
    case = replace(one(8, 3), name=FROM_H0, h0=(np.ones((1, 4), np.float32),))
    small = shrink(judged(network, edited(network, bias_input=bias)), case, 8)
    assert small is not None and small.x.shape == (1, 1, 3)
    assert not np.any(small.x) and small.h0 is not None and not np.any(small.h0[0])


@settings(max_examples=40, deadline=None)
@given(networks(), st.integers(0, 99))
def test_what_is_left_fails_and_is_part_of_what_was_given(network: Network, seed: int) -> None:
    case = batches(network, B=1, T=7, seed=seed)[seed % 2]
    wrong = edited(network, kernel=network.layers[0].directions[0].kernel * np.float32(1.1))
    both = judged(network, wrong)
    small = shrink(both, case, 1)
    if small is None:
        assert not both.fails(case)
        return
    assert both.fails(small)
    given_part = case.x[:, : small.x.shape[1]]
    assert np.all((small.x == given_part) | (small.x == 0)) and small.x.dtype == case.x.dtype
    if small.x.shape[1] > 1 and not any(d.reverse for _, _, d in network.directions()):
        assert not both.fails(replace(small, x=given_part[:, :-1], h0=case.h0))


def test_equal_networks_have_no_case() -> None:
    network = single(3, 4)
    assert shrink(judged(network, network), one(16, 3), 1) is None


def test_a_limit_of_the_user_is_exceeded_too() -> None:
    network = quiet(single(3, 4))
    wrong = edited(network, kernel=network.layers[0].directions[0].kernel * np.float32(1.01))
    both = replace(judged(network, wrong), limit=Tolerance(atol=5e-3))
    small = shrink(both, one(16, 3), 1)
    assert small is not None and both.fails(small)
    assert shrink(replace(both, limit=Tolerance(atol=5.0)), one(16, 3), 1) is None


def test_where_layers_do_not_correspond_the_limit_decides() -> None:
    both = Judged(bidirectional(3, 2), single(3, 4), "float32", False, Tolerance(atol=1e-3))
    small = shrink(both, one(8, 3), 1)
    assert small is not None and both.fails(small) and small.x.shape[1] == 1


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    network = quiet(single(30, 4))
    wrong = edited(network, kernel=network.layers[0].directions[0].kernel * np.float32(1.5))
    asked: list[Batch] = []
    fails = Judged.fails

    def counted(self: Judged, batch: Batch) -> bool:
        asked.append(batch)
        return fails(self, batch)

    monkeypatch.setattr(Judged, "fails", counted)
    monkeypatch.setattr(module, "_ATTEMPTS", 25)
    # a limit that hardly any zero may be set under: every place would be tried alone
    both = replace(judged(network, wrong), limit=Tolerance(atol=0.3))
    assert shrink(both, one(64, 30), 64) is not None
    assert len(asked) < 25 + 10
