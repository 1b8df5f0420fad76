"""The coarse map of a deviation: every difference is in the cell of its unit and step, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.canonical import Array
from rnnverify.heatmap import STEPS, UNITS, heat_map
from rnnverify.trace import ZERO, Batch, Run


def run_of(y: Array) -> Run:
    return Run(Batch(ZERO, np.zeros((*y.shape[:2], 1), np.float32)), y)


@given(B=st.integers(1, 3), T=st.integers(1, 200), F=st.integers(1, 80), data=st.data())
def test_a_difference_is_in_its_cell_alone(B: int, T: int, F: int, data: st.DataObject) -> None:
    t, unit = data.draw(st.integers(0, T - 1)), data.draw(st.integers(0, F - 1))
    y = np.zeros((B, T, F), np.float32)
    other = y.copy()
    other[B - 1, t, unit] = -0.5
    found = heat_map(run_of(y), run_of(other))
    assert (found.batch, found.units, found.steps) == (ZERO, F, T)
    rows = np.array(found.rows)
    assert rows.shape == (min(F, UNITS), min(T, STEPS))
    expected = np.zeros_like(rows)
    expected[unit * rows.shape[0] // F, t * rows.shape[1] // T] = 0.5
    np.testing.assert_array_equal(rows, expected)


def test_long_runs_are_gone_through_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 300, 70)).astype(np.float32)
    whole = heat_map(run_of(a), run_of(b))
    assert max(max(row) for row in whole.rows) == float(f"{np.abs(a.astype(float) - b).max():.3g}")
    monkeypatch.setattr("rnnverify.heatmap._BLOCK_BYTES", 8 * 3 * 70 * 7)
    assert heat_map(run_of(a), run_of(b)) == whole


def test_what_is_not_finite_is_no_number() -> None:
    y = np.zeros((1, 2, 2), np.float32)
    for ours, theirs in ((np.nan, 0), (np.inf, np.inf), (0, -np.inf)):
        a, b = y.copy(), y.copy()
        a[0, 1, 0], b[0, 1, 0] = ours, theirs
        np.testing.assert_array_equal(heat_map(run_of(a), run_of(b)).rows, [[0, np.nan], [0, 0]])
