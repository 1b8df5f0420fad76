"""Whole modules as records: their tensors under the names of a state_dict, within bounds."""

from __future__ import annotations

import pytest

from rnnverify.containers.torch_modules import flatten, is_module
from rnnverify.containers.torch_records import Global, MalformedError, Record, Tensor

W = Tensor("float32", (2,), (1,))


def record(module: str, name: str, state: object) -> Record:
    return Record(Global(module, name), (), state)


def eager(tensors: dict[str, Tensor], modules: dict[str, object], **attributes: object) -> Record:
    state = {"_parameters": tensors, "_buffers": {"seen": W}, "_modules": modules, **attributes}
    return record("user", "Net", state)


def test_parameters_and_buffers_come_under_the_names_of_a_state_dict() -> None:
    inner = eager({"weight": W, "none": None}, {}, mode="RNN_RELU", hook=record("user", "Hook", None))  # type: ignore[dict-item]  # an unset parameter is None
    tensors, facts = flatten(eager({"w": W}, {"rnn": inner, "unset": None}, note=W))
    assert list(tensors) == ["w", "seen", "rnn.weight", "rnn.seen"]
    assert facts == {"": {"class": "user.Net"}, "rnn.": {"class": "user.Net", "mode": "RNN_RELU"}}


def test_a_scripted_module_keeps_tensors_and_modules_side_by_side() -> None:
    inner = record(
        "__torch__.torch.nn.modules.rnn.___torch_mangle_3", "RNN", {"weight_ih_l0": W, "nonlinearity": "relu"}
    )
    tensors, facts = flatten(record("__torch__", "Wrap", {"training": True, "rnn": inner, "list": [W]}))
    assert list(tensors) == ["rnn.weight_ih_l0"]
    assert facts == {"": {}, "rnn.": {"nonlinearity": "relu"}}


@pytest.mark.parametrize("value", [W, {"_parameters": {}}, record("user", "Config", {"_parameters": {"w": W}})])
def test_other_things_are_no_modules(value: object) -> None:
    assert not is_module(value)


def test_attributes_beside_slots_count() -> None:
    module = record("user", "Net", ({"_parameters": {"w": W}, "_modules": {}}, {"slot": 1}))
    assert list(flatten(module)[0]) == ["w"]


def test_a_module_inside_itself_and_one_kept_too_often_are_refused() -> None:
    inside: dict[str, object] = {}
    endless = eager({}, inside)
    inside["again"] = endless
    with pytest.raises(MalformedError, match="deep"):
        flatten(endless)
    many = eager({}, {})
    for _ in range(6):
        many = eager({}, {str(k): many for k in range(10)})
    with pytest.raises(MalformedError, match="more than"):
        flatten(many)
