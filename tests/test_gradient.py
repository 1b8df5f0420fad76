"""The gradient against differences of the reference itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import networks, single

from rnnverify import reference
from rnnverify.canonical import Array, Network
from rnnverify.gradient import input_gradient
from rnnverify.trace import ZERO, Batch


def weighed(network: Network, x: Array, weights: Array) -> float:
    return float((reference.run(network, [Batch(ZERO, x)]).runs[ZERO].y * weights).sum())


@settings(max_examples=60)
@given(networks(activations=("tanh", "sigmoid", "softplus", "mish")), st.integers(0, 99))
def test_the_gradient_is_the_slope_of_the_reference(network: Network, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 4, network.input_size))
    weights = rng.normal(size=(2, 4, network.output_size))
    found = input_gradient(network, reference.run(network, [Batch(ZERO, x)]).runs[ZERO], weights)
    assert found.shape == x.shape
    toward = rng.normal(size=x.shape)
    step = 1e-6 * toward
    slope = (weighed(network, x + step, weights) - weighed(network, x - step, weights)) / 2e-6
    assert float((found * toward).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-7)


def test_a_later_output_does_not_reach_back_beyond_the_inputs_before_it() -> None:
    network = single(3, 4)
    x = np.ones((1, 5, 3))
    weights = np.zeros((1, 5, 4))
    weights[0, 2] = 1
    found = input_gradient(network, reference.run(network, [Batch(ZERO, x)]).runs[ZERO], weights)
    assert np.all(found[0, 3:] == 0) and np.all(found[0, :3] != 0)
