"""What an activation and a sum may be off by: never less than it must be, and hardly more."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.activations import activation
from rnnverify.cells.enclosure import Activation, Product, operation
from rnnverify.precision import UNIT_ROUNDOFF
from rnnverify.step import Allowed

EXACT = Allowed(0, 0)  # the activation itself is not off


@given(
    name=st.sampled_from(["tanh", "sigmoid"]),
    dtype=st.sampled_from(["bfloat16", "float16", "float32"]),
    z=st.floats(-40, 40),
    eps=st.floats(0, 1) | st.floats(0, 1e-3) | st.just(np.inf),
)
def test_the_series_reaches_both_ends_and_hardly_beyond(name: str, dtype: str, z: float, eps: float) -> None:
    act = activation(name)
    with np.errstate(invalid="ignore"):
        middle, reach = Activation(name, dtype, EXACT)(np.array([z]), np.array([eps]))
    ends = max(act(np.array([z + eps]))[0] - middle[0], middle[0] - act(np.array([z - eps]))[0])
    assert ends <= reach[0] + 1e-15
    assert reach[0] <= ends * 1.0001 + UNIT_ROUNDOFF[dtype] / 8


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "hard_sigmoid", "gelu", "clip(3)tanh"])
def test_what_is_known_to_within_nothing_definite_may_be_anything(name: str) -> None:
    with np.errstate(invalid="ignore"):
        _, reach = Activation(name, "float32")(np.array([np.nan, 0.5]), np.array([1.0, 0.0]))
    assert reach[0] == np.inf and 0 <= reach[1] < 1e-5


def test_a_larger_error_of_the_activation_is_added() -> None:
    z, eps = np.array([0.3]), np.array([1e-6])
    least, more = (Activation("sigmoid", "float32", Allowed(0, units))(z, eps)[1] for units in (0, 10))
    assert more - least == pytest.approx(10 * UNIT_ROUNDOFF["float32"], rel=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 7, 300, 5000])
def test_sizes_are_never_too_small_and_hardly_too_large(dtype: str, rows: int) -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(3, rows)), rng.normal(size=(rows, 5))
    exact = np.abs(x) @ np.abs(weights)
    found = Product(weights, dtype).sizes(x)
    assert (found >= exact).all() and (found <= exact * 1.002).all()


def test_float64_is_computed_as_finely_here_as_there() -> None:
    assert operation("float64") == 2 * UNIT_ROUNDOFF["float64"] and operation("float32") == UNIT_ROUNDOFF["float32"]
