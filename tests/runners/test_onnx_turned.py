"""Nodes that run forward between operations that turn the steps around: layers that run backwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_files import graph, model, node, tensor, value, weights
from test_run_onnx import run, written

from rnnverify.canonical import Layer
from rnnverify.errors import SelectorError
from rnnverify.sides import open_side, parse

NUMBERS = {
    "one": np.array([1]),
    "zero": np.array([0]),
    "half": np.array(0.5, np.float32),
    "two": np.array(2, np.float32),
    "last": np.array([-1]),
    "start": np.array([-(1 << 62)]),
    "most": np.array([1 << 62]),
    "n": np.array([6, 6]),
    "3 axes": np.array([0, 0, 4]),
}


def whole(nodes: list[bytes], arrays: dict[str, Any], outputs: list[str]) -> bytes:
    constants = [tensor(name, array) for name, array in {**arrays, **NUMBERS}.items()]
    return model(graph(nodes, constants, [value("X", (0, 0, 3))], [value(name) for name in outputs]), 14)


def rnn(name: str, x: str) -> list[bytes]:
    made = node("RNN", [x, f"{name}.W", f"{name}.R", f"{name}.B"], [f"{name}.Y", f"{name}.Y_h"], name)
    return [made, node("Squeeze", [f"{name}.Y", "one"], [f"{name}.y"])]


def turn(op: str, given: str, name: str) -> bytes:
    if op == "Slice":
        return node("Slice", [given, "last", "start", "zero", "last"], [name])
    return node("ReverseSequence", [given, "n"], [name], time_axis=0, batch_axis=1)


def layer_of(path: Path) -> Layer:
    side = open_side(parse(str(path), "A"))
    assert side.reading
    return side.reading.network.layers[-1]


@pytest.mark.parametrize("op", ["Slice", "ReverseSequence"])
@pytest.mark.parametrize("restored", [True, False])
@pytest.mark.parametrize("T", [6, 1100])
def test_a_layer_between_two_turns_runs_backwards(op: str, restored: bool, T: int, tmp_path: Path) -> None:
    nodes = [turn(op, "X", "x"), *rnn("a", "x"), turn(op, "a.y", "z")]
    path = written(
        whole(nodes[: None if restored else -1], weights(prefix="a."), ["z" if restored else "a.y"]), tmp_path
    )
    layer = layer_of(path)
    assert layer.directions[0].reverse and layer.time_restored == restored
    run(path, T=T)


def test_features_turned_around_are_no_steps(tmp_path: Path) -> None:
    nodes = [node("Slice", ["X", "last", "start", "two axes", "last"], ["x"]), *rnn("a", "x")]
    path = written(whole(nodes, {**weights(prefix="a."), "two axes": np.array([2])}, ["a.y"]), tmp_path)
    assert not layer_of(path).directions[0].reverse


@pytest.mark.parametrize("join", ["Concat", "Add", "mean", "mean by 2"])
@pytest.mark.parametrize("T", [6, 1100])
def test_one_forward_and_one_between_two_turns_are_a_layer(join: str, T: int, tmp_path: Path) -> None:
    nodes = [*rnn("a", "X"), turn("Slice", "X", "x"), *rnn("b", "x"), turn("Slice", "b.y", "z")]
    joined: dict[str, Any] = {"axis": 2} if join == "Concat" else {}
    nodes.append(node("Concat" if join == "Concat" else "Add", ["a.y", "z"], ["both"], **joined))
    nodes.append(node("Mul", ["both", "half"], ["y"]) if join == "mean" else node("Div", ["both", "two"], ["y"]))
    ends = ["y"] if join.startswith("mean") else ["both"]
    used = nodes if join.startswith("mean") else nodes[:-1]
    path = written(whole(used, weights(prefix="a.") | weights(prefix="b.", seed=1), ends), tmp_path)
    layer = layer_of(path)
    assert layer.bidirectional and layer.time_restored
    assert layer.merge == {"Concat": "concat", "Add": "sum"}.get(join, "ave")
    run(path, T=T)


def test_last_states_side_by_side_are_a_layer(tmp_path: Path) -> None:
    nodes = [*rnn("a", "X"), turn("Slice", "X", "x"), *rnn("b", "x")]
    nodes += [node("Slice", ["b.y", "last", "most", "zero"], ["end"]), node("Squeeze", ["end", "zero"], ["b.last"])]
    nodes += [node("Squeeze", ["a.Y_h", "zero"], ["a.last"]), node("Concat", ["a.last", "b.last"], ["y"], axis=1)]
    path = written(whole(nodes, weights(prefix="a.") | weights(prefix="b.", seed=1), ["y"]), tmp_path)
    layer = layer_of(path)
    assert layer.bidirectional and layer.time_restored and layer.merge == "concat"
    run(path)


def test_a_backward_node_of_which_only_the_last_state_is_read(tmp_path: Path) -> None:
    arrays = weights(prefix="a.")
    nodes = [node("RNN", ["X", "a.W", "a.R", "a.B"], ["", "a.Y_h"], "a", direction="reverse")]
    path = written(whole(nodes, arrays, ["a.Y_h"]), tmp_path)
    assert layer_of(path).directions[0].reverse and not layer_of(path).time_restored
    run(path)


@pytest.mark.parametrize(
    ("perm", "shape", "sizes", "joined"),
    [
        ([0, 2, 1, 3], [0, 0, 4], (6, 2), True),
        ([0, 2, 1, 3], [6, 2, 4], (6, 2), True),
        ([0, 2, 1, 3], [-1, 2, 4], (6, 2), True),
        ([2, 0, 1, 3], [6, 2, 4], (6, 2), False),  # (B, T, ...) as (T, B, ...): not a transposition
        ([0, 2, 1, 3], [2, 6, 4], (6, 2), False),
        ([0, 2, 1, 3], [6, 6, 4], (6, 6), False),  # which of the two is not to be seen
        ([0, 2, 1, 3], [6, 2, 4], (0, 0), False),
        ([0, 2, 1, 3], [-1, -1, 4], (6, 2), False),
        ([0, 2, 1, 3], [12, 4], (6, 2), False),
    ],
)
def test_a_reshape_between_two_nodes_has_to_say_which_axis_is_which(
    perm: list[int], shape: list[int], sizes: tuple[int, int], joined: bool, tmp_path: Path
) -> None:
    lower = node("RNN", ["X", "a.W", "a.R", "a.B"], ["Y"], "a")
    between = [node("Transpose", ["Y"], ["t"], perm=perm), node("Reshape", ["t", "shape"], ["z"])]
    upper = node("RNN", ["z", "b.W", "b.R", "b.B"], ["out"], "b")
    arrays = weights(prefix="a.") | weights(I=4, prefix="b.", seed=1) | {"shape": np.array(shape)}
    constants = [tensor(name, array) for name, array in arrays.items()]
    ends = [value("out")]
    path = written(model(graph([lower, *between, upper], constants, [value("X", (*sizes, 3))], ends), 14), tmp_path)
    if joined:
        side = open_side(parse(str(path), "A"))
        assert side.reading and side.reading.part == "a+b"
        run(path, T=9)  # also where the graph is made for 6 steps
    else:
        with pytest.raises(SelectorError, match="holds 2 recurrent parts"):
            open_side(parse(str(path), "A"))
