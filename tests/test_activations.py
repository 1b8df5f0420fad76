"""Each activation against its formula, one number at a time with `math`."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.activations import ACTIVATIONS, ALIASES, SLOPES

ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805
SOME = [-700.0, -50.0, -6.5, -3.0, -2.5, -1.0, -1e-3, -1e-9, 0.0, 1e-9, 0.3, 1.0, 2.5, 3.0, 6.5, 50.0, 700.0]


def clip(z: float, low: float, high: float) -> float:
    return min(max(z, low), high)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def softplus(z: float) -> float:
    return max(z, 0) + math.log1p(math.exp(-abs(z)))


FORMULAS: dict[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "relu": lambda z: max(z, 0),
    "linear": lambda z: z,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda z: clip(z + 3, 0, 6) / 6,
    "keras2_hard_sigmoid": lambda z: clip(0.2 * z + 0.5, 0, 1),
    "relu6": lambda z: clip(z, 0, 6),
    "leaky_relu": lambda z: z if z > 0 else 0.2 * z,
    "softsign": lambda z: z / (1 + abs(z)),
    "softplus": softplus,
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "selu": lambda z: SCALE * (z if z > 0 else ALPHA * math.expm1(z)),
    "exponential": math.exp,
    "silu": lambda z: z * sigmoid(z),
    "gelu": lambda z: z * 0.5 * (1 + math.erf(z / math.sqrt(2))),
    "mish": lambda z: z * math.tanh(softplus(z)),
    "celu": lambda z: z if z > 0 else math.expm1(z),
    "hard_tanh": lambda z: clip(z, -1, 1),
    "hard_silu": lambda z: z * clip(z + 3, 0, 6) / 6,
    "log_sigmoid": lambda z: -softplus(-z),
    "tanh_shrink": lambda z: z - math.tanh(z),
    "squareplus": lambda z: (z + math.sqrt(z * z + 4)) / 2,
}


def test_every_activation_has_a_formula_here() -> None:
    assert set(ACTIVATIONS) == set(FORMULAS)
    assert set(ALIASES.values()) <= set(ACTIVATIONS)
    assert not set(ALIASES) & set(ACTIVATIONS)


@pytest.mark.parametrize("name", FORMULAS)
def test_values_are_those_of_the_formula(name: str) -> None:
    found = ACTIVATIONS[name](np.array(SOME).reshape(1, -1))
    wanted = np.array([FORMULAS[name](z) for z in SOME]).reshape(1, -1)
    assert (found.shape, found.dtype.name) == (wanted.shape, "float64")
    np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", FORMULAS)
@given(z=st.floats(-700, 700))
def test_any_value_is_that_of_the_formula(name: str, z: float) -> None:
    assert ACTIVATIONS[name](np.array([z]))[0] == pytest.approx(FORMULAS[name](z), rel=1e-13, abs=1e-13)


def test_every_activation_has_a_slope() -> None:
    assert set(SLOPES) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", FORMULAS)
@given(z=st.floats(-8, 8).filter(lambda z: min(abs(z - corner) for corner in (-3, -2.5, -1, 0, 1, 2.5, 3, 6)) > 1e-3))
def test_slopes_are_those_of_the_values(name: str, z: float) -> None:
    ends = ACTIVATIONS[name](np.array([z + 1e-5, z - 1e-5]))
    found = SLOPES[name](np.array([z]))
    assert found.shape == (1,)
    assert found[0] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", FORMULAS)
def test_nan_stays_nan(name: str) -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(ACTIVATIONS[name](np.array([np.nan]))).all()


def test_the_two_hard_sigmoids_are_not_one() -> None:
    z = np.array([1.0])
    assert ACTIVATIONS["hard_sigmoid"](z)[0] == pytest.approx(2 / 3)
    assert ACTIVATIONS["keras2_hard_sigmoid"](z)[0] == pytest.approx(0.7)


def test_the_formulas_tell_activations_apart() -> None:
    z = np.array(SOME)
    for name, formula in FORMULAS.items():
        same = [other for other in ACTIVATIONS if np.allclose(ACTIVATIONS[other](z), [formula(v) for v in SOME])]
        assert same == (["elu", "celu"] if name in ("elu", "celu") else [name])  # alike where alpha is 1
