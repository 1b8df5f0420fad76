"""Activations whose names carry numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import engines
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import batches, single

from rnnverify import rounding
from rnnverify.activations import ACTIVATIONS, SLOPES, activation, slope
from rnnverify.parametrised import FAMILIES, Parsed, parsed, spelled
from rnnverify.step import ACTIVATION_ERRORS, activation_error

FORMULAS: dict[str, Callable[[float], float]] = {
    "affine(2,-0.5)": lambda z: 2 * z - 0.5,
    "affine(-0.5,0.25)": lambda z: -0.5 * z + 0.25,
    "leaky_relu(0.125)": lambda z: z if z > 0 else 0.125 * z,
    "leaky_relu(-0.5)": lambda z: z if z > 0 else -0.5 * z,
    "thresholded_relu(0.75)": lambda z: z if z > 0.75 else 0,
    "scaled_tanh(1.5,0.5)": lambda z: 1.5 * math.tanh(0.5 * z),
    "scaled_tanh(1.5,-0.5)": lambda z: 1.5 * math.tanh(-0.5 * z),
    "hard_sigmoid(0.25,0.375)": lambda z: min(max(0.25 * z + 0.375, 0), 1),
    "hard_sigmoid(-0.25,0.5)": lambda z: min(max(-0.25 * z + 0.5, 0), 1),
    "elu(0.5)": lambda z: z if z > 0 else 0.5 * math.expm1(z),
    "elu(-0.5)": lambda z: z if z > 0 else -0.5 * math.expm1(z),
    "clip(3)tanh": lambda z: math.tanh(min(max(z, -3), 3)),
    "clip(0.5)leaky_relu(2)": lambda z: (lambda c: c if c > 0 else 2 * c)(min(max(z, -0.5), 0.5)),
    "clip(2)relu": lambda z: min(max(z, 0), 2),
}
CORNERS = (-3, -2, -1.5, -0.5, 0, 0.5, 0.75, 2, 2.5, 3)


def test_every_family_has_a_formula_here() -> None:
    assert {parsed(name).base for name in FORMULAS} >= set(FAMILIES)


@pytest.mark.parametrize("name", FORMULAS)
@given(z=st.floats(-50, 50))
def test_values_are_those_of_the_formula(name: str, z: float) -> None:
    found = activation(name)(np.array([[z]]))
    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx(FORMULAS[name](z), rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("name", FORMULAS)
@given(z=st.floats(-8, 8).filter(lambda z: min(abs(z - corner) for corner in CORNERS) > 1e-3))
def test_slopes_are_those_of_the_values(name: str, z: float) -> None:
    ends = activation(name)(np.array([z + 1e-5, z - 1e-5]))
    assert slope(name)(np.array([z]))[0] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", FORMULAS)
def test_nan_stays_nan(name: str) -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(activation(name)(np.array([np.nan]))).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_names_without_numbers_mean_what_they_did(name: str) -> None:
    assert activation(name) is ACTIVATIONS[name] and slope(name) is SLOPES[name]


@pytest.mark.parametrize(
    "name",
    ["", "nothing", "tanh(1)", "affine(1)", "elu(1,2)", "clip()tanh", "clip(x)tanh", "clip(3)nothing", "elu(inf)"],
)
def test_other_names_are_none(name: str) -> None:
    for look_up in (activation, slope):
        with pytest.raises(KeyError):
            look_up(name)


NUMBERS = st.floats(-1e6, 1e6, width=32).map(float)


@given(numbers=st.tuples(NUMBERS, NUMBERS), clip=st.floats(0, 1e6, width=32).map(float))
def test_a_name_is_taken_apart_into_what_it_was_made_of(numbers: tuple[float, float], clip: float) -> None:
    assert parsed(spelled("affine", numbers, clip)) == Parsed("affine", numbers, clip)


def test_numbers_are_float32_and_spelled_short() -> None:
    assert spelled("elu", (float(np.float32(0.1)),), 3.0) == "clip(3)elu(0.1)"
    assert parsed("elu(0.1)").numbers == (float(np.float32(0.1)),)


@pytest.mark.parametrize("name", FORMULAS)
def test_what_falls_states_its_slope(name: str) -> None:
    """The interval act(z - eps) to act(z + eps) stands for functions that nowhere fall."""
    z = np.linspace(-30, 30, 600_001)
    slopes = np.diff(activation(name)(z)) / np.diff(z)
    error = activation_error(name)
    assert error.least_slope is None
    if error.largest_slope:
        assert np.abs(slopes).max() <= error.largest_slope + 1e-9
    else:
        assert slopes.min() > -1e-9


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("seed", range(3))
def test_correct_engines_hold_and_their_neighbours_do_not(name: str, seed: int) -> None:
    network = single(3, 8, seed=seed, activation=name)
    for order in engines.ORDERS:
        runs = list(engines.run(network, batches(network, seed=seed), order).runs.values())
        budget = rounding.check(network, runs, "float32")
        assert budget is not None and budget.holds
        moved = [replace(run, y=run.y * np.float32(1.001) + np.float32(1e-3)) for run in runs]
        budget = rounding.check(network, moved, "float32")
        assert budget is not None and not budget.holds


def test_a_clip_rounds_no_more_than_what_comes_behind_it() -> None:
    assert activation_error("clip(3)tanh") == replace(ACTIVATION_ERRORS["tanh"], least_slope=None)
