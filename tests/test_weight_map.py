"""The coarse map of two weight tensors: every entry where all are shown, and of many the one that differs most."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.weight_map import CELLS, weight_map


def test_a_small_tensor_is_shown_whole_gates_side_by_side() -> None:
    a = np.arange(24.0).reshape(2, 3, 4)
    found = weight_map(a, -a)
    assert found.shape == (3, 8)
    np.testing.assert_array_equal(found.baseline, np.hstack([a[0], a[1]]))
    np.testing.assert_array_equal(found.candidate, -np.hstack([a[0], a[1]]))


def test_a_bias_is_one_row() -> None:
    a = np.arange(8.0).reshape(2, 4)
    assert weight_map(a, a).baseline == (tuple(range(8)),) and weight_map(a, a).shape == (1, 8)


def test_a_bias_of_a_dense_layer_is_one_row() -> None:
    assert weight_map(np.arange(3.0), np.ones(3)).candidate == ((1.0, 1.0, 1.0),)


@pytest.mark.parametrize("G", [1, 4])
@given(I=st.integers(1, 100), H=st.integers(1, 100), data=st.data())
def test_a_difference_is_seen_in_one_cell(G: int, I: int, H: int, data: st.DataObject) -> None:
    g, i, j = (data.draw(st.integers(0, n - 1)) for n in (G, I, H))
    a = np.ones((G, I, H))
    b = a.copy()
    b[g, i, j] = 1.5
    found = weight_map(a, b)
    cells = np.array(found.candidate) - np.array(found.baseline)
    assert cells.shape == (min(I, CELLS), min(G * H, CELLS)) and cells.sum() == 0.5 and np.count_nonzero(cells) == 1
