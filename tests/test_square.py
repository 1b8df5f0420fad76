"""The square: four edges, the inequality between them, and the matrix of all sides."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import batches, edited, networks
from observed import EXACT, NETWORK, against, model, nudged, recorded, shifted, with_states

from rnnverify.adequacy import Examiner
from rnnverify.canonical import Network
from rnnverify.judge import judge
from rnnverify.observed import Observed, matrix
from rnnverify.trace import FROM_H0, ZERO


def test_the_square_is_measured() -> None:
    pair = against(model("B", nudged(1e-3)))
    assert pair.weights == pytest.approx(pair.headline.deviation.max_abs, rel=1e-2)
    assert 0 < (pair.implementation_baseline or 0) < 1e-7
    assert 0 < (pair.implementation_candidate or 0) < 1e-7
    pair = against(recorded("B", NETWORK))
    assert (pair.weights, pair.implementation_candidate) == (None, None)
    own = model("B", NETWORK)
    assert against(replace(own, trace=own.reference or own.trace)).implementation_candidate is None


noise = st.floats(0, 0.5)


@given(networks(activations=("tanh", "sigmoid")), noise, noise, noise, st.integers(0, 99))
def test_the_headline_is_within_the_three_other_edges(
    network: Network, a: float, b: float, w: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)

    def noisy(side: Observed, size: float) -> Observed:
        for name in (ZERO, FROM_H0):
            side = with_states(side, lambda y: y + rng.uniform(-size, size, y.shape), name)
        return side

    both = batches(network)
    other = edited(network, kernel=network.layers[0].directions[0].kernel + np.float32(w))
    baseline, candidate = noisy(model("A", network, both), a), noisy(model("B", other, both), b)
    pair = judge(baseline, candidate, Examiner(both), EXACT)
    edges = (pair.implementation_baseline, pair.weights, pair.implementation_candidate)
    assert pair.headline.deviation.max_abs <= sum(edge or 0 for edge in edges) + 1e-12


def test_the_matrix_holds_every_pair() -> None:
    sides = [recorded("A", NETWORK), with_states(recorded("B", NETWORK), shifted(0.25))]
    sides.append(with_states(recorded("C", NETWORK), shifted(np.nan)))
    table = np.array(matrix(sides))
    assert np.array_equal(table, table.T, equal_nan=True)
    assert (np.diag(table) == 0).all()
    assert table[0, 1] == pytest.approx(0.25)
    assert np.isnan(table[2, :2]).all()
