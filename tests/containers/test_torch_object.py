"""Which tensors of a checkpoint are offered, and the bounds on their views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents
from rnnverify.containers.torch_object import contents, materialise
from rnnverify.containers.torch_pickle import Loaded
from rnnverify.containers.torch_records import Storage, Tensor
from rnnverify.errors import FileError

W = Tensor("float32", (2,), (1,), 0, Storage("0", "float32", 2))


def zeros(storage: Storage) -> Array:
    return np.zeros(4 * storage.count, np.uint8)


def of(value: object) -> Contents:
    return contents(Path("m.pt"), "form", "", Loaded(value, {}, ""), zeros)


def test_a_bare_state_dict_has_no_root() -> None:
    found = of({"rnn.weight_ih_l0": W, "fc.bias": W, "epoch": 3})
    assert list(found.tensors) == ["rnn.weight_ih_l0", "fc.bias"]
    assert found.metadata["root"] == []


def test_a_checkpoint_is_searched_and_its_optimizer_left_out() -> None:
    slots = {"state": {0: {"weight_ih_l0": W}}, "param_groups": []}
    checkpoint = {"nets": [{"weight_ih_l0": W}], "anything": slots, "optim_old": {"weight_ih_l0": W}}
    found = of({"disc": {"fc.weight": W}, **checkpoint})
    assert list(found.tensors) == ["weight_ih_l0"]
    assert found.metadata["root"] == ["nets", 0]
    assert found.notes == ("left aside: 1 dict(s) of tensors without recurrent weights (disc)",)


def test_several_recurrent_state_dicts_are_all_offered_under_their_path() -> None:
    found = of({"model": {"weight_ih_l0": W}, "ema": {"module": {"rnn.weight_ih_l0": W}}})
    assert list(found.tensors) == ["model/weight_ih_l0", "ema/module/rnn.weight_ih_l0"]
    assert found.metadata == {"root": [], "roots": {"model/": ["model"], "ema/module/": ["ema", "module"]}}


def test_a_dict_that_is_kept_twice_is_offered_once() -> None:
    shared = {"weight_ih_l0": W}
    assert list(of({"model": shared, "best": shared}).tensors) == ["weight_ih_l0"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (W, "one nameless tensor"),
        ({"state": {}, "param_groups": []}, "optimizer"),
        ({"epoch": 3}, "its keys: epoch"),
        ([1], "no dict of tensors"),
        ({"a": {"b/weight_ih_l0": W}, "a/b": {"weight_ih_l0": W}}, "two tensors come out as a/b/weight_ih_l0"),
    ],
)
def test_says_what_is_there_instead(value: object, found: str) -> None:
    with pytest.raises(FileError, match=found):
        of(value)


@given(st.data())
def test_a_view_is_what_numpy_makes_of_it_or_it_is_refused(data: st.DataObject) -> None:
    axes = data.draw(st.integers(0, 3))
    shape = data.draw(st.tuples(*[st.integers(0, 4)] * axes))
    strides = data.draw(st.tuples(*[st.integers(0, 6)] * axes))
    count, offset = data.draw(st.integers(0, 30)), data.draw(st.integers(0, 6))
    flat = np.arange(count, dtype="<f4")
    view = Tensor("float32", shape, strides, offset, Storage("0", "float32", count))
    within = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) < count
    size = int(np.prod(shape))
    if size and (not within or size > count):
        with pytest.raises(FileError, match=r"reaches|expanded"):
            materialise(Path("m.pt"), "w", view, lambda _: flat.view(np.uint8), False)
        return
    values = materialise(Path("m.pt"), "w", view, lambda _: flat.view(np.uint8), False)
    assert values.shape == shape
    for index in np.ndindex(shape):
        assert values[index] == offset + sum(i * s for i, s in zip(index, strides, strict=True))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_bfloat16_is_the_upper_half_of_a_float32(numbers: list[float]) -> None:
    upper = np.array(numbers, "<f4").view("<u4") >> 16
    view = Tensor("bfloat16", (len(numbers),), (1,), 0, Storage("0", "bfloat16", len(numbers)))
    values = materialise(Path("m.pt"), "w", view, lambda _: upper.astype("<u2").view(np.uint8), False)
    assert values.tobytes() == (upper << 16).astype("<u4").view("<f4").tobytes()
