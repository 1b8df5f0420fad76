"""Expressions are evaluated, and give what was wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.canonical import Array
from rnnverify.porting.array_code import Call, Shelf, Wanted, expression, quoted

SHAPES = ((2, 12), (4, 6), (12,), (2, 3, 4))
SHELF = Shelf(tuple(f"a[{k}]" for k in range(len(SHAPES))), SHAPES, np.cumsum([1, *map(int, map(np.prod, SHAPES))]))
ARRAYS = [
    np.arange(start, end, dtype=np.int64).reshape(shape)
    for shape, start, end in zip(SHAPES, SHELF.starts, SHELF.starts[1:], strict=False)
]
"""Each number is its own place."""


def made(*places: Array, constant: float = 0.0, cuts: Sequence[Sequence[int]] = ((), ())) -> str:
    wanted = Wanted(places, np.full(places[0].shape, constant), "float32")
    found = expression(wanted, cuts, SHELF)
    if found is None:
        return ""
    names: dict[str, Any] = {"a": ARRAYS, "np": np}
    for text in (str(found), "\n".join(found.lines()) if isinstance(found, Call) else found):
        assert np.array_equal(eval(text, names), sum(places) + constant)
    return str(found)


def test_slices_turned_and_reshaped() -> None:
    assert made(ARRAYS[0]) == "a[0]"
    assert made(ARRAYS[0].T) == "a[0].T"
    assert made(-ARRAYS[0][:, 3:6]) == "-a[0][:, 3:6]"
    assert made(ARRAYS[3][1, :2]) == "a[3][1, :2]"
    assert made(ARRAYS[0][:, 4:8].reshape(4, 2).T) == "a[0][:, 4:8].reshape(4, 2).T"  # cuDNN's
    assert made(ARRAYS[1][:, 2:].T.reshape(2, 8)) == "a[1][:, 2:].T.reshape(2, 8)"


def test_sums_and_constants() -> None:
    assert made(ARRAYS[2], -ARRAYS[0][1]) == "a[2] - a[0][1]"
    assert made(ARRAYS[2][:4], constant=-1.0) == "a[2][:4] - 1.0"
    assert made(np.zeros((2, 3), np.int64)) == "np.zeros((2, 3), np.float32)"
    assert made(np.zeros(3, np.int64), constant=0.25) == "np.full(3, 0.25, np.float32)"


def test_side_by_side() -> None:
    swapped = ARRAYS[2][[4, 5, 6, 7, 0, 1, 2, 3, 8, 9, 10, 11]]
    assert made(swapped, cuts=((4, 8),)) == "np.concatenate([a[2][4:8], a[2][:4], a[2][8:]])"
    assert made(np.concatenate([ARRAYS[0], ARRAYS[0]])) == ""  # where one ends and the other begins is not told
    assert made(np.concatenate([ARRAYS[0], ARRAYS[0]]), cuts=((2,), ())) == "np.concatenate([a[0], a[0]])"
    assert made(np.concatenate([ARRAYS[1].T, ARRAYS[1][:, :4]]), cuts=((6,), ())).endswith("[a[1].T, a[1][:, :4]])")
    assert made(np.stack([ARRAYS[2], ARRAYS[2]]), cuts=((1,), ())) == "np.stack([a[2], a[2]])"


def test_scattered_numbers_have_no_expression() -> None:
    assert made(ARRAYS[2][[0, 2, 5]]) == ""
    assert made(ARRAYS[1] * np.array([[1], [-1], [1], [1]])) == ""


@given(st.permutations(range(4)), st.permutations(range(3)), st.booleans())
def test_blocks_in_any_order(columns: list[int], rows: list[int], turned: bool) -> None:
    """Of a matrix (6, 4) cut into three bands of rows and four columns."""
    matrix = ARRAYS[1].T
    order = [k for band in rows for k in (2 * band, 2 * band + 1)]
    wanted = matrix[np.ix_(order, columns)]
    cuts = ((2, 4), (1, 2, 3))
    text = made(wanted.T, cuts=cuts[::-1]) if turned else made(wanted, cuts=cuts)
    assert text


def test_names_are_strings_of_python() -> None:
    for name in ("a/b:0", 'with "quotes"', "line\nbreak", "é", "\U0001f600"):
        assert eval(quoted(name)) == name and quoted(name).isascii() and "\n" not in quoted(name)


def test_long_calls_take_several_lines() -> None:
    inner = Call("np.concatenate([", tuple("x" * 30 for _ in range(4)), "])")
    lines = list(Call("set(", (inner,), ")").lines())
    assert lines == ["set(np.concatenate([", *[f"    {'x' * 30},"] * 4, "]))"]
    assert list(Call("set(", ("x" * 200,), ")").lines()) == [f"set({'x' * 200})"]


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (1, 1)])
def test_axes_of_one(shape: tuple[int, int]) -> None:
    assert made(ARRAYS[1][: shape[0], : shape[1]])
