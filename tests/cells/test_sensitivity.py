"""What a weight moves is what the step with that weight changed gives, for every weight of every gated cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from networks import gated

from rnnverify.canonical import Array, Direction, Network
from rnnverify.cells import recurrence
from rnnverify.cells.sensitivity import Channel, sensitivity

NETWORKS = {
    "gru": gated("gru", 2, 3),
    "gru reset before": gated("gru", 2, 3, reset_after=False),
    "gru keras2 gates": gated("gru", 2, 3, activation="keras2_hard_sigmoid"),
    "lstm": gated("lstm", 2, 3),
    "lstm peepholes": gated("lstm", 2, 3, peepholes=True),
    "lstm clipped": gated("lstm", 2, 3, peepholes=True, cell_clip=0.3, output="softsign"),
    "lstm projected": gated("lstm", 2, 4, P=3, peepholes=True),
}
KINDS = pytest.mark.parametrize("kind", NETWORKS)
BY = 1e-6


def steps(network: Network) -> tuple[Array, Array, Array, Array]:
    """x (B, T, I), recorded h and the h before it (B, T, P), of any origin; and c0 (B, H)."""
    rng = np.random.default_rng(3)
    d = network.layers[0].directions[0]
    h = rng.uniform(-1, 1, (2, 6, d.state_size))
    return rng.normal(size=(2, 5, d.input_size)), h[:, 1:], h[:, :-1], rng.uniform(-0.2, 0.2, (2, d.hidden_size))


def stepped(network: Network, direction: Direction) -> Array:
    """h of every step, by the formula of the cell from the h before it."""
    formula = recurrence(network.layers[0], direction)
    x, _, before, c = steps(network)
    found = []
    for t in range(x.shape[1]):
        state = formula.step(formula.project(x[:, t]), (before[:, t], c)[: 1 + (network.layers[0].cell == "lstm")])
        c = state[-1]
        found.append(state[0])
    return np.stack(found, axis=1)


def of(network: Network) -> tuple[Array, tuple[Channel, ...], Direction]:
    direction = network.layers[0].directions[0].mapped(lambda array: array.astype(np.float64))
    x, _, before, c0 = steps(network)
    return *sensitivity(network.layers[0], direction, x, before, c0), direction


def weights(channels: tuple[Channel, ...]) -> list[tuple[Channel, int, int]]:
    return [
        (channel, row, unit)
        for channel in channels
        for row in range(channel.inputs.shape[2])
        for unit in range(channel.gain.shape[2])
    ]


@KINDS
def test_steps_are_those_of_the_cell(kind: str) -> None:
    h, _, direction = of(NETWORKS[kind])
    np.testing.assert_allclose(h, stepped(NETWORKS[kind], direction), atol=1e-14)


@KINDS
def test_slopes_are_those_of_the_cell(kind: str) -> None:
    h, channels, direction = of(NETWORKS[kind])
    for channel, row, unit in weights(channels):
        name, index = channel.place(row, unit)
        tensor = getattr(direction, name).copy()
        tensor[index] += BY
        changed: dict[str, Array] = {name: tensor}
        found = (stepped(NETWORKS[kind], replace(direction, **changed)) - h) / BY  # type: ignore[arg-type]
        np.testing.assert_allclose(channel.moved(row, unit), found, atol=2e-5, err_msg=f"{name} {index}")


@KINDS
def test_every_weight_has_one_place(kind: str) -> None:
    """But of two biases that are added up one stands for both."""
    _, channels, direction = of(NETWORKS[kind])
    places = [channel.place(row, unit) for channel, row, unit in weights(channels)]
    assert len(set(places)) == len(places)
    split = NETWORKS[kind].layers[0].formula[0] == "gru" and NETWORKS[kind].layers[0].gating.reset_after
    twice = direction.bias_recurrent.size - split * direction.hidden_size
    assert len(places) == sum(array.size for _, array in direction.tensors()) - twice


@KINDS
def test_sums_are_those_of_the_slopes(kind: str) -> None:
    h, channels, _ = of(NETWORKS[kind])
    rng = np.random.default_rng(4)
    residual, weight = rng.normal(size=h.shape), rng.uniform(0, 2, h.shape)
    for channel in channels:
        units = np.arange(channel.gain.shape[2])[1:]
        moment, power = channel.regressed(units, residual, weight)
        for row in range(channel.inputs.shape[2]):
            for k, unit in enumerate(units):
                moved = channel.moved(row, int(unit))
                assert moment[row, k] == pytest.approx((moved * residual * weight).sum(), abs=1e-12)
                assert power[row, k] == pytest.approx((moved**2 * weight).sum(), abs=1e-12)
