"""Recurrences in graphs that TensorFlow wrote, and in small ones where each rule fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphs import cell, op

from rnnverify.adapters.graph.recurrence import Recurrence, find_recurrences, merged
from rnnverify.adapters.graph.walk import TangledError
from rnnverify.containers.tf_graph import Graph, read_graph

GRAPHS = Path(__file__).parents[2] / "fixtures" / "graphs"


def only(graph: Graph) -> Recurrence:
    (ways,) = find_recurrences(graph).values()
    (way,) = ways
    return way


def genuine(name: str) -> dict[str, Recurrence]:
    found = find_recurrences(read_graph(GRAPHS / name))
    assert all(len(ways) == 1 for ways in found.values())
    return {kernel: ways.pop() for kernel, ways in found.items()}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("state_first.pb", {"state_first": True, "activation": "tanh", "reverse": False}),
        ("scan.pb", {"recurrent": "U", "biases": ("b",), "activation": "relu", "reverse": False}),
        ("scan_reverse.pb", {"recurrent": "U", "reverse": True, "restored": True}),
        ("reversed.pb", {"reverse": True, "restored": False}),
        ("reversed_back.pb", {"reverse": True, "restored": True}),
        ("keras_backwards.pb", {"reverse": True, "restored": False, "activation": "tanh"}),
        ("clip.pb", {"activation": "keras2_hard_sigmoid"}),
        ("swish.pb", {"activation": "silu"}),
        ("sine.pb", {"activation": "", "operations": ("Sin",)}),
        ("residual.pb", {"residual": True}),
        ("partitioned.pb", {"kernel": "m/rnn/basic_rnn_cell/kernel", "biases": ("m/rnn/basic_rnn_cell/bias",)}),
        ("relu.ckpt.meta", {"kernel": "rnn/basic_rnn_cell/kernel", "activation": "relu", "lengths": False}),
    ],
)
def test_what_a_graph_says(name: str, wanted: dict[str, object]) -> None:
    (found,) = genuine(name).values()
    assert {key: getattr(found, key) for key in wanted} == wanted
    assert found.residual == (name == "residual.pb")


def test_gates_are_no_recurrence() -> None:
    assert genuine("gru.pb") == {}


def test_each_layer_has_its_own_activation() -> None:
    assert [way.activation for way in genuine("mixed.pb").values()] == ["relu", "tanh"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("sum.pb", ("sum", True)),
        ("backward_first.pb", ("concat", False)),
        ("static_both_ways.pb", ("concat", True)),
        ("keras_both_ways.pb", ("concat", True)),
    ],
)
def test_how_directions_are_merged(name: str, wanted: tuple[str, bool]) -> None:
    forward, backward = sorted(genuine(name).values(), key=lambda way: bool(way.reverse))
    assert (forward.reverse, backward.reverse) == (False, True)
    assert merged(forward, backward) == wanted
    assert merged(forward, forward) is None


def test_a_loop_is_a_recurrence_and_a_feed_is_none() -> None:
    joins = frozenset({("concat", "ConcatV2", 1)})
    place = {"joins": joins, "states": frozenset({"act"}), "inputs": frozenset({"x"})}
    assert only(cell()) == Recurrence("kernel", biases=("bias",), activation="tanh", operations=("Tanh",), **place)  # type: ignore[arg-type]  # fields by name
    assert only(cell(parts=("h", "x"))).state_first
    assert find_recurrences(cell(state="zeros")) == {}
    assert find_recurrences(cell(parts=("x", "h", "x"))) == {}
    assert find_recurrences(cell(parts=("h", "h"))) == {}


def test_steps_picked_in_an_unknown_way_leave_the_direction_open() -> None:
    picked = op("x", "StridedSlice", "steps", "time", "time", "one")
    graph = {**cell(), "x": picked}
    assert only(graph).reverse is None


def test_lengths_count_only_where_they_are_fed() -> None:
    for source, wanted in (("Placeholder", True), ("Fill", False)):
        choice = (
            op("act", "Tanh", "z"),
            op("over", "GreaterEqual", "time", "lengths"),
            op("kept", "Select", "over", "h", "act"),
        )
        graph = cell(*choice, state="kept", extra=(op("lengths", source),))
        assert only(graph).lengths == wanted


def test_a_tangled_graph_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnverify.adapters.graph.walk._MOST_LOOKUPS", 1000)
    chain = [op("i0", "VariableV2"), *(op(f"i{k}", "Identity", f"i{k - 1}") for k in range(1, 200))]
    products = [op(f"m{k}", "MatMul", "x", "i199") for k in range(60)]
    assert len(find_recurrences(cell())) == 1
    with pytest.raises(TangledError):
        find_recurrences(cell(extra=(*chain, *products)))


def test_a_reversal_of_features_is_not_one_of_time() -> None:
    axis = bytes([8, 3, 0x12, 4, 0x12, 2, 8, 1, 0x22, 4])  # int32 (1,), tensor_content
    for value, wanted in ((1, True), (2, None)):
        tensor = axis + value.to_bytes(4, "little")
        nodes = (
            op("given", "Placeholder"),
            op("axis_", "Const", value=bytes([0x42, len(tensor)]) + tensor),
            op("steps", "ReverseV2", "given", "axis_"),
        )
        assert only(cell(extra=nodes)).reverse is wanted
