"""Layers among objects, by the names under which they hold each other."""

from __future__ import annotations

from typing import Any

import pytest
from object_files import variable

from rnnverify.containers.keras_objects import ObjectLayer, layers_in
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_objects import Node

Tree = dict[str, Any]


def cell(scope: str = "") -> Tree:
    return {role: f"{scope}/{role}" if scope else "" for role in ("kernel", "recurrent_kernel", "bias")}


def rnn(scope: str = "") -> Tree:
    return {"cell": cell(scope), "state_spec": {}}


def dense(scope: str = "") -> Tree:
    return {"kernel": f"{scope}/kernel" if scope else "", "bias": ""}


def nodes(tree: Tree) -> list[Node]:
    """The objects of a tree: a text is a variable of that full name, an object that stands twice is one."""
    listed: list[Node] = []
    numbers: dict[int, int] = {}

    def add(item: Tree | str, path: str) -> int:
        if isinstance(item, str):
            listed.append(variable(path, item or " "))
            return len(listed) - 1
        if id(item) not in numbers:
            numbers[id(item)] = at = len(listed)
            listed.append(Node({}))
            children = {name: add(child, f"{path}/{name}") for name, child in item.items()}
            listed[at] = Node(children)
        return numbers[id(item)]

    add(tree, "root")
    return listed


def found(tree: Tree) -> list[ObjectLayer]:
    return layers_in(nodes(tree), {})


def paths(tree: Tree) -> list[str]:
    return ["/".join(layer.path) for layer in found(tree)]


def test_the_order_of_a_model_is_that_of_its_numbers() -> None:
    members = {f"layer-{k}": rnn(f"rnn_{k}/simple_rnn_cell") for k in (10, 2, 0)}
    model = {**members, "layer_with_weights-0": members["layer-0"], "optimizer": dense("Adam"), "layer-1": {}}
    assert paths(model) == ["rnn_0", "rnn_2", "rnn_10"]
    assert all(layer.ordered and layer.recurrent for layer in found(model))


def test_a_model_that_numbers_layers_with_weights_only() -> None:
    assert paths({"layer_with_weights-1": dense("top"), "layer_with_weights-0": rnn("low")}) == ["low", "top"]


def test_a_shared_layer_is_one() -> None:
    shared = rnn("shared")
    assert paths({"layer-0": shared, "layer-1": shared}) == ["shared"]


@pytest.mark.parametrize(
    ("full_name", "name"),
    [
        ("rnn/kernel", "rnn"),
        ("rnn/simple_rnn_cell_3/kernel", "rnn"),
        ("sub/rnn/simple_rnn_cell/kernel", "rnn"),
        ("kernel", "layer-0"),
    ],
)
def test_names_come_from_variables(full_name: str, name: str) -> None:
    assert paths({"layer-0": {"cell": {"kernel": full_name, "recurrent_kernel": ""}}}) == [name]


def test_both_directions_are_one_layer() -> None:
    both = {"forward_layer": rnn("both/forward_rnn/simple_rnn_cell"), "backward_layer": rnn("both/backward_rnn")}
    (layer,) = found({"layer-0": both})
    assert layer.path == ("both",) and layer.recurrent
    assert [*layer.weights][::3] == ["forward_layer/cell/kernel", "backward_layer/cell/kernel"]


def test_stacked_cells_are_one_layer() -> None:
    cells = {"0": cell("rnn/stacked_rnn_cells/simple_rnn_cell"), "1": cell()}
    (layer,) = found({"layer-0": {"cell": {"cells": cells}}})
    assert layer.path == ("rnn",) and [*layer.weights][::3] == ["cell/cells/0/kernel", "cell/cells/1/kernel"]


def test_nested_models_have_names_or_numbers() -> None:
    tree = {"layer-0": {"layer-0": rnn("inner"), "layer-1": dense("mid")}, "layer-1": rnn("outer")}
    assert paths(tree) == ["layer-0/inner", "layer-0/mid", "outer"]
    listed = nodes(tree)
    assert ["/".join(layer.path) for layer in layers_in(listed, {1: "sub"})] == ["sub/inner", "sub/mid", "outer"]


def test_what_a_checkpoint_holds_alone_needs_no_name() -> None:
    model = {"layer-0": rnn("low"), "layer-1": rnn("top")}
    tree = {"model": model, "optimizer": dense("Adam"), "save_counter": "save_counter"}
    assert paths(tree) == ["low", "top"] and all(layer.ordered for layer in found(tree))


def test_attributes_have_names_and_no_order() -> None:
    tree = {"encoder": {"layer-0": rnn("a")}, "decoder": {"layer-0": rnn("b")}, "head": dense("head")}
    assert paths(tree) == ["encoder/a", "decoder/b", "head"]
    assert not any(layer.ordered for layer in found(tree))


def test_a_wrapper_without_recurrence_is_one_layer() -> None:
    (layer,) = found({"layer-0": {"layer": dense("td")}})
    assert (layer.path, layer.recurrent, [*layer.weights]) == (("td",), False, ["layer/kernel", "layer/bias"])


def test_keras_3_holds_layers_in_a_list() -> None:
    operations = {"0": {}, "1": rnn("sequential/rnn/simple_rnn_cell"), "2": dense("sequential/dense")}
    assert paths({"model": {"_functional": {"_operations": operations, "_tracked": {}}}}) == ["rnn", "dense"]


def test_nothing_recurrent() -> None:
    assert not any(layer.recurrent for layer in found({"layer-0": {"kernel": "only/kernel"}, "layer-1": dense("d")}))


def test_circles_end_and_depth_is_bounded() -> None:
    model: Tree = {"layer-0": rnn("low")}
    model["layer-0"]["parent"] = model
    model["root"] = model
    assert paths(model) == ["low"]
    deep: Tree = {}
    for _ in range(100):
        deep = {"layer-0": deep, "other": rnn("x")}
    with pytest.raises(MalformedError, match="more than 64 deep"):
        found(deep)
