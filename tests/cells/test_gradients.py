"""The gradients of every kind of cell against differences of the reference."""

from dataclasses import replace

import numpy as np
import pytest
from networks import gated, mixed, single

from rnnverify import reference
from rnnverify.canonical import Array, Gating, Network
from rnnverify.gradient import input_gradient
from rnnverify.trace import ZERO, Batch

NETWORKS = {
    "rnn": single(3, 4),
    "gru": gated("gru"),
    "gru, reset before": gated("gru", reset_after=False),
    "lstm": gated("lstm"),
    "lstm, all there is": gated("lstm", P=2, peepholes=True, output="softsign", cell_clip=0.6),
    "mixed": mixed(),
}


def gradients(network: Network, other: Network) -> tuple[Array, Array]:
    """Of `network` by back-propagation, and of `other` by differences."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 3))
    weights = rng.normal(size=(2, 4, network.output_size))
    exact = input_gradient(network, reference.run(network, [Batch(ZERO, x)]).runs[ZERO], weights)

    def value(x: Array) -> float:
        return float((reference.run(other, [Batch(ZERO, x)]).runs[ZERO].y * weights).sum())

    found = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[at] = 1e-6
        found[at] = (value(x + step) - value(x - step)) / 2e-6
    return exact, found


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_is_that_of_differences(name: str) -> None:
    exact, found = gradients(NETWORKS[name], NETWORKS[name])
    assert np.abs(found).max() > 1e-3
    assert np.allclose(exact, found, rtol=0, atol=1e-7)


def test_and_of_no_other_formula() -> None:
    after = gated("gru")
    before = replace(after, layers=(replace(after.layers[0], gating=Gating(reset_after=False)),))
    exact, found = gradients(after, before)
    assert not np.allclose(exact, found, rtol=0, atol=1e-3)
