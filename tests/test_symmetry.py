"""Networks that differ by the order, sign or scale of their units only are brought together, others are not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import batches, bidirectional, gated, mixed, networks, single, stacked

from rnnverify import mistakes, reference
from rnnverify.canonical import Array, Network
from rnnverify.symmetry import Symmetry, Units, applied, brief, find

SCALES = {"tanh": [1.0, -1.0], "linear": [1.0, -2.0, 0.5], "relu": [1.0, 4.0, 0.25], "sigmoid": [1.0]}


def drawn(network: Network, seed: int) -> Symmetry:
    """Any symmetry of `network`; directions that are merged unit by unit share one."""
    rng = np.random.default_rng(seed)
    found = []
    for layer in network.layers:
        pair = [units(rng, layer.hidden_size, SCALES[layer.activation]) for _ in layer.directions]
        if layer.bidirectional and layer.merge != "concat":
            factors = (1.0,) * layer.hidden_size  # a product of two would lose a sign
            pair = [replace(pair[0], factors=factors)] * 2
        found += pair
    return Symmetry(tuple(found))


def units(rng: np.random.Generator, H: int, scales: list[float]) -> Units:
    order = tuple(int(j) for j in rng.permutation(H))
    return Units("", order, tuple(float(f) for f in rng.choice(scales, H)))


def turned(network: Network, symmetry: Symmetry, y: Array) -> Array:
    """The outputs (B, T, F) in the order, sign and scale that `symmetry` gives the top layer."""
    top = network.layers[-1]
    parts = symmetry.directions[-len(top.directions) :][: y.shape[2] // top.hidden_size]
    H = top.hidden_size
    return np.concatenate([y[..., j * H :][..., list(u.order)] * u.factors for j, u in enumerate(parts)], axis=2)


@given(networks(), st.integers(0, 2**32 - 1))
def test_the_outputs_of_a_symmetric_network_are_those_of_the_first_turned(network: Network, seed: int) -> None:
    symmetry = drawn(network, seed)
    x, _ = batches(network)
    ours, theirs = (reference.run(each, [x]).runs["zero"].y for each in (network, applied(network, symmetry)))
    wanted = turned(network, symmetry, ours)
    assert np.abs(wanted - theirs).max() <= 1e-9 * max(1.0, float(np.abs(wanted).max()))


@given(networks(), st.integers(0, 2**32 - 1))
def test_what_was_applied_is_found(network: Network, seed: int) -> None:
    other = applied(network, drawn(network, seed))
    found = find(network, other)
    assert found is not None  # weights of random networks tell all units apart
    assert mistakes.same(applied(network, found), other)


def test_another_network_is_not_brought_together() -> None:
    network, other = single(5, 8), single(5, 8, seed=1)
    found = find(network, other)
    assert found is None or not mistakes.same(applied(network, found), other)
    assert find(network, stacked(5, [8, 8])) is None
    assert find(network, single(5, 8, activation="relu")) is None


def test_units_that_only_the_recurrent_kernel_tells_apart() -> None:
    network = single(1, 4)
    blank = mistakes.each(
        network,
        lambda d: replace(d, kernel=0 * d.kernel + 1, bias_input=0 * d.bias_input, bias_recurrent=0 * d.bias_input),
    )
    other = applied(blank, Symmetry((Units("", (2, 0, 3, 1), (1.0,) * 4),)))
    found = find(blank, other)
    assert found is not None and found.directions[0].order == (2, 0, 3, 1)


def test_directions_merged_unit_by_unit_share_one_order() -> None:
    network = bidirectional(5, 4, merge="sum")
    (layer,) = network.layers
    forward = applied(
        Network((replace(layer, directions=layer.directions[:1]),)), Symmetry((Units("", (1, 0, 2, 3), (1.0,) * 4),))
    )
    mixed = Network((replace(layer, directions=(forward.layers[0].directions[0], layer.directions[1])),))
    assert find(network, mixed) is None


def test_it_is_said_briefly() -> None:
    order = tuple(range(19, -1, -1))
    assert brief(order) == "19 18 17 16 15 14 13 12 11 10 9 8 ... (20 in all)"
    assert str(Units("layer 0", (1, 0), (1.0, -1.0))) == "layer 0: units 1 0, signs of 1 flipped"
    assert str(Units("layer 0", (0, 1), (1.0, 4.0))) == "layer 0: scaled by 4"
    assert Units("layer 0", (0, 1), (1.0, 1.0)).is_trivial


GATED = {
    "gru": gated("gru", 5, 6),
    "gru, reset before": gated("gru", 5, 6, reset_after=False),
    "lstm": gated("lstm", 5, 6, peepholes=True),
    "gates of relu": gated("lstm", 5, 6, output="relu"),
    "mixed": mixed(),
}


def drawn_gated(network: Network, seed: int) -> Symmetry:
    rng = np.random.default_rng(seed)
    found = []
    for _, layer, d in network.directions():
        scales = [1.0] if layer.gating.output == "relu" else [1.0, -1.0]
        found.append(units(rng, d.hidden_size, scales))
    return Symmetry(tuple(found))


@pytest.mark.parametrize("name", GATED)
@given(seed=st.integers(0, 2**32 - 1))
def test_units_of_gated_cells(name: str, seed: int) -> None:
    network, symmetry = GATED[name], drawn_gated(GATED[name], seed)
    x, _ = batches(network)
    other = applied(network, symmetry)
    ours, theirs = (reference.run(each, [x]).runs["zero"].y for each in (network, other))
    assert np.abs(turned(network, symmetry, ours) - theirs).max() <= 1e-12
    found = find(network, other)
    assert found is not None and mistakes.same(applied(network, found), other)


def test_no_symmetry_of_gates_that_is_none() -> None:
    network = GATED["lstm"]
    flipped = applied(network, Symmetry((Units("", tuple(range(6)), (-1.0,) * 6),)))
    layer = flipped.layers[0]
    d = layer.directions[0]
    half = replace(d, recurrent_kernel=network.layers[0].directions[0].recurrent_kernel)  # flipped but for what h gives
    wrong = replace(flipped, layers=(replace(layer, directions=(half,)),))
    found = find(network, wrong)
    assert found is not None and not mistakes.same(applied(network, found), wrong)
    assert find(gated("lstm", P=2), gated("lstm", P=2)) is None
    assert find(GATED["gru"], GATED["gru, reset before"]) is None
