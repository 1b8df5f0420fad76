"""Networks whose units are in another order, judged unit against unit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import bidirectional, computed, edited, networks, single, stacked
from observed import EXACT, model

from rnnverify import symmetry
from rnnverify.adequacy import Examiner
from rnnverify.alignment import aligned
from rnnverify.canonical import Network
from rnnverify.judge import judge
from rnnverify.symmetry import Symmetry, Units
from rnnverify.trace import ZERO, Batch


def shuffled(network: Network, seed: int = 1, *, signs: bool = True) -> Network:
    """`network` with its units in another order, and some of their signs flipped."""
    rng = np.random.default_rng(seed)
    parts = []
    for layer in network.layers:
        units = []
        for _ in layer.directions:
            order = tuple(int(k) for k in rng.permutation(layer.hidden_size))
            factors = tuple(float(f) for f in rng.choice([1.0, -1.0] if signs else [1.0], layer.hidden_size))
            units.append(Units("", order, factors))
        same = layer.bidirectional and layer.merge != "concat"
        parts += [units[0], units[0]] if same else units
    return symmetry.applied(network, Symmetry(tuple(parts)))


def sequences(network: Network) -> Batch:
    x = np.random.default_rng(0).normal(size=(3, 9, network.input_size)).astype(np.float32)
    return Batch(ZERO, x)


@given(networks(activations=("tanh",)), st.integers(0, 99))
def test_a_network_with_its_units_shuffled_is_equivalent(network: Network, seed: int) -> None:
    other = shuffled(network, seed, signs=all(layer.merge != "mul" for layer in network.layers))
    batch = sequences(network)
    sides = [model(label, each, [batch]) for label, each in (("A", network), ("B", other))]
    found = aligned(*sides)
    if found is None:
        mine, theirs = ([d.kernel.tobytes() for _, _, d in each.directions()] for each in (network, other))
        assert mine == theirs or any(layer.hidden_size < 3 for layer in network.layers)  # too few weights to tell units
        return
    assert judge(found[0], found[1], Examiner([batch]), EXACT).verdict in ("IDENTICAL", "EQUIVALENT")


@pytest.mark.parametrize("network", [single(3, 6), stacked(3, (6, 5)), bidirectional(3, 6)])
def test_states_and_words(network: Network) -> None:
    batch = sequences(network)
    other = shuffled(network)
    a, b = model("A", network, [batch]), model("B", other, [batch])
    assert judge(a, b, Examiner([batch]), EXACT).verdict == "DIFFERENT"
    found = aligned(a, b)
    assert found and "units" in found[2]
    assert np.allclose(found[1].trace.runs[ZERO].y, a.trace.runs[ZERO].y, atol=1e-6)


def test_relu_allows_scales_and_no_signs() -> None:
    network = single(3, 6, activation="relu")
    batch = sequences(network)
    scales = Symmetry((Units("", (0, 1, 2, 3, 4, 5), (1.0, 2.0, 0.5, 1.0, 4.0, 1.0)),))
    sides = [model("A", network, [batch]), model("B", symmetry.applied(network, scales), [batch])]
    assert aligned(*sides) is not None
    flipped = [sides[0], model("B", shuffled(network), [batch])]
    assert aligned(*flipped) is None


def test_other_networks_and_equal_ones_are_left_alone() -> None:
    network = single(3, 6)
    batch = sequences(network)
    a = model("A", network, [batch])
    assert aligned(a, model("B", network, [batch])) is None
    assert aligned(a, model("B", single(3, 6, seed=5), [batch])) is None
    nudged = edited(shuffled(network), bias_input=network.layers[0].directions[0].bias_input + 1)
    assert aligned(a, model("B", nudged, [batch])) is None
    assert aligned(a, replace(a, network=None, reference=None, trace=computed(network, [batch]))) is None
