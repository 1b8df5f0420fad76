"""Dtypes, bfloat16 among them, against what they are defined by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.precision import UNIT_ROUNDOFF, holds, narrow, smallest, spacing


def nearest(value: float, bits: int) -> float:
    """`value` with `bits` significant binary digits, ties to even: by its definition."""
    fraction, exponent = np.frexp(value)
    return float(np.ldexp(np.round(np.ldexp(fraction, bits)), exponent - bits))


@given(st.floats(-(2.0**100), 2.0**100, width=32))
def test_bfloat16_is_eight_digits_rounded_to_even(value: float) -> None:
    if value == 0 or abs(value) > 2.0**-120:
        assert float(narrow(np.array([value], np.float32), "bfloat16")[0]) == nearest(value, 8)


@given(st.floats(-(2.0**13), 2.0**13, width=32), st.sampled_from(list(UNIT_ROUNDOFF)))
def test_rounding_is_within_the_unit_roundoff_and_done_once(value: float, dtype: str) -> None:
    once = narrow(np.array([[value]]), dtype)
    error = abs(float(once[0, 0]) - value)
    assert error <= UNIT_ROUNDOFF[dtype] * abs(value) + smallest(dtype) * UNIT_ROUNDOFF[dtype]
    assert error <= spacing(np.abs(np.array([value])), dtype)[0]
    assert narrow(once, dtype).tolist() == once.tolist() and holds(once, dtype)


def test_what_is_not_a_number_or_infinite_stays_so() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 3.4e38], np.float32)
    assert np.array_equal(narrow(values, "bfloat16"), [np.nan, np.inf, -np.inf, np.inf], equal_nan=True)
    assert narrow(np.array([70000.0]), "float16").tolist() == [np.inf]


@pytest.mark.parametrize(("dtype", "fits"), [("bfloat16", False), ("float16", True), ("float32", True)])
def test_what_a_dtype_holds(dtype: str, fits: bool) -> None:
    assert holds(np.array([[1 + 2.0**-9]]), dtype) == fits
