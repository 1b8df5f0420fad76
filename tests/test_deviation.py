"""The inequality: what agrees, what never does, and where the difference is said to be."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rnnverify import deviation
from rnnverify.canonical import Array
from rnnverify.deviation import PROFILE_WIDTH, Deviation, Tolerance, measure
from rnnverify.errors import MismatchError, OptionError

VALUES = [1.0, 2.0, float("nan"), float("inf"), float("-inf")]
EXACT, GENEROUS = Tolerance(), Tolerance(1e6, 1e6)


def states(*values: float) -> Array:
    """(1, T, 1)"""
    return np.array(values).reshape(1, -1, 1)


@pytest.mark.parametrize(("a", "b"), list(itertools.product(VALUES, VALUES)))
@pytest.mark.parametrize("tolerance", [EXACT, GENEROUS, Tolerance(rtol=1.0)])
def test_every_pair_of_values(a: float, b: float, tolerance: Tolerance) -> None:
    found = measure(states(1, a), states(1, b), tolerance)
    finite = bool(np.isfinite(a) and np.isfinite(b))
    agrees = finite and abs(a - b) <= tolerance.atol + tolerance.rtol * abs(a)
    assert found.beyond == (0 if agrees else 1)
    assert found.first_step == (None if agrees else 1)
    assert found.nonfinite == (int(not np.isfinite(a)), int(not np.isfinite(b)))
    assert found.max_abs == (abs(a - b) if finite else 0)
    assert np.isfinite(found.mean_abs) and np.isfinite(found.by_step).all()
    if not agrees:
        assert found.at == (0, 1, 0)
        assert np.array_equal([found.baseline_value, found.candidate_value], [a, b], equal_nan=True)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 1, 4), (2, 7, 4)),
        ((1, 3, 4), (2, 3, 4)),
        ((2, 3, 1), (2, 3, 4)),
        ((2, 3, 4), (2, 4, 3)),
        ((3, 4), (1, 3, 4)),
        ((), (2, 3, 4)),
        ((2, 3, 4), (2, 3)),
    ],
)
def test_shapes_that_merely_broadcast_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(MismatchError, match="cannot be compared"):
        measure(np.zeros(a), np.zeros(b), GENEROUS)


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (4,), (3, 4), (1, 2, 3, 4), ()])
def test_nothing_to_compare_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(MismatchError, match="wanted \\(B, T, F\\), no axis empty"):
        measure(np.zeros(shape), np.zeros(shape), GENEROUS)


def test_the_difference_is_located_and_counted() -> None:
    a = np.zeros((2, 5, 3))
    b = a.copy()
    b[1, 2, 0], b[0, 3, 2] = 0.5, -2.0
    assert measure(a, b, Tolerance(0.4)) == Deviation(
        max_abs=2.0,
        at=(0, 3, 2),
        baseline_value=0.0,
        candidate_value=-2.0,
        mean_abs=2.5 / 30,
        compared=30,
        beyond=2,
        first_step=2,
        by_step=(0.0, 0.0, 0.5, 2.0, 0.0),
        nonfinite=(0, 0),
        bitwise=False,
    )
    assert measure(a, b, Tolerance(0.5)).first_step == 3
    assert measure(a, b, Tolerance(2.0)).first_step is None


def test_the_first_entry_that_is_not_finite_is_shown_before_the_maximum() -> None:
    a = np.zeros((2, 4, 2))
    b = a.copy()
    b[0, 0, 0], b[1, 2, 1], b[0, 3, 0] = 9.0, np.nan, np.inf
    found = measure(a, b, GENEROUS)
    assert (found.max_abs, found.at, found.nonfinite, found.beyond) == (9.0, (1, 2, 1), (0, 2), 2)


def test_relative_tolerance_is_relative_to_the_baseline() -> None:
    assert measure(states(10), states(11), Tolerance(rtol=0.1)).beyond == 0
    assert measure(states(11), states(10), Tolerance(rtol=0.09)).beyond == 1
    assert measure(states(0), states(0.1), Tolerance(rtol=1e9)).beyond == 1


def test_bitwise_means_dtype_and_bits() -> None:
    a = states(0.5, 0.25)
    assert measure(a, a.copy(), EXACT).bitwise
    assert not measure(a, a.astype(np.float32), EXACT).bitwise
    assert not measure(states(0.0), states(-0.0), EXACT).bitwise
    assert measure(a[:, ::-1], a[:, ::-1].copy(), EXACT).bitwise


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f4", ">f8"])
def test_other_dtypes_are_compared_as_float64(dtype: str) -> None:
    a = np.full((1, 2, 1), 2048.0)
    found = measure(a.astype(dtype), a + 0.125, EXACT)
    assert (found.max_abs, found.beyond, found.bitwise) == (0.125, 2, False)


shapes = st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 3))
numbers = st.floats(-1e6, 1e6, width=32) | st.sampled_from(VALUES)
pairs = shapes.flatmap(lambda shape: st.tuples(*2 * [hnp.arrays(np.float64, shape, elements=numbers)]))


@given(pairs, st.sampled_from([1, 8 * 9 * 10, 2**24]))
def test_blocks_along_time_are_as_one_piece(both: tuple[Array, Array], size: int) -> None:
    whole = measure(*both, Tolerance(0.1, 0.1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deviation, "_BLOCK_BYTES", size)
        parts = measure(*both, Tolerance(0.1, 0.1))
    assert parts.mean_abs == pytest.approx(whole.mean_abs)
    assert (parts.first_step, parts.beyond, parts.by_step) == (whole.first_step, whole.beyond, whole.by_step)
    assert (parts.max_abs, parts.nonfinite, parts.bitwise) == (whole.max_abs, whole.nonfinite, whole.bitwise)
    a, b = (array[parts.at] for array in both)
    assert any(whole.nonfinite) or abs(a - b) == whole.max_abs


@given(pairs)
def test_nothing_passes_that_numpy_tells_apart(both: tuple[Array, Array]) -> None:
    a, b = both
    agree = np.isfinite(a) & np.isfinite(b) & (a == b)
    found = measure(a, b, EXACT)
    assert found.beyond == a.size - agree.sum()
    assert measure(a, a.copy(), EXACT).bitwise
    assert not found.bitwise or np.array_equal(a, b, equal_nan=True)


def test_the_profile_is_the_maximum_of_each_stretch() -> None:
    T = 10 * PROFILE_WIDTH
    b = np.zeros((2, T, 1))
    b[1, 25, 0], b[0, T - 1, 0] = 3.0, 1.0
    profile = measure(np.zeros((2, T, 1)), b, EXACT).by_step
    assert len(profile) == PROFILE_WIDTH
    assert {k: value for k, value in enumerate(profile) if value} == {2: 3.0, PROFILE_WIDTH - 1: 1.0}


def test_arrays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deviation, "_BLOCK_BYTES", 100)
    a = np.random.default_rng(0).normal(size=(2, 30, 3))
    b = a + 1e-3 * (np.arange(30) == 17)[None, :, None]
    for name, array in (("a", a), ("b", b)):
        np.save(tmp_path / f"{name}.npy", array)
    mapped_a, mapped_b = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "ab")
    assert measure(mapped_a, mapped_b, EXACT) == measure(a, b, EXACT)


@pytest.mark.parametrize("value", [-1.0, -1e-300, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["atol", "rtol"])
def test_a_tolerance_is_a_number_from_0_up(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=f"--{name} .*: a tolerance is a number from 0 up"):
        Tolerance(**{name: value})


def test_a_tolerance_in_words() -> None:
    assert not EXACT
    assert Tolerance(atol=1e-9) and Tolerance(rtol=1e-9)
    assert str(Tolerance(0.001)) == "atol 0.001"
    assert str(Tolerance(0.001, 0.1)) == "atol 0.001, rtol 0.1"


def test_a_difference_that_overflows_is_beyond_any_tolerance() -> None:
    assert measure(states(1e308), states(-1e308), Tolerance(1e300)).beyond == 1
