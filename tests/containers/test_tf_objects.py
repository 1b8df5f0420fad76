"""Graphs of objects: what holds what, and graphs that no checkpoint has."""

from __future__ import annotations

import pytest
from object_files import graph, saved_graph, variable
from tf_files import chunk, number

from rnnverify.containers import tf_objects
from rnnverify.containers.protobuf import MalformedError, parse
from rnnverify.containers.tf_objects import Node, checkpoint_nodes, same_objects, saved_nodes

NODES = (Node({"model": 1, "again": 1, "root": 0}), Node({"kernel": 2}), variable("model/kernel", "rnn/kernel"))


def test_nodes_come_back() -> None:
    assert checkpoint_nodes(graph(NODES)) == NODES


def test_a_saved_graph_has_names_and_no_keys() -> None:
    *objects, stored = saved_nodes(parse(saved_graph(NODES)))
    assert tuple(objects) == NODES[:2] and stored == Node({}, "", "rnn/kernel")


def test_other_attributes_are_no_values() -> None:
    data = chunk(1, chunk(2, chunk(1, b"OBJECT_CONFIG_JSON") + chunk(3, b"key")))
    assert checkpoint_nodes(data) == (Node({}),)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "its graph has 0 objects"),
        (graph([Node({"model": 1})]), "an object holds number 1 of 1"),
        (chunk(1, chunk(1, number(1, -1) + chunk(2, b"model"))), "an object holds number -1 of 1"),
        (chunk(1, b"\x0a\xff"), "a number is cut off"),
        (graph([Node({}), Node({}), Node({})]), "its graph has 3 objects"),
    ],
)
def test_graphs_that_do_not_hold_together(monkeypatch: pytest.MonkeyPatch, data: bytes, words: str) -> None:
    monkeypatch.setattr(tf_objects, "_MOST_NODES", 2)
    with pytest.raises(MalformedError, match=words):
        checkpoint_nodes(data)


def test_objects_are_the_same_where_names_lead_to_them() -> None:
    ours = (Node({"a": 1, "b": 2}), Node({"c": 3, "up": 0}), Node({}), Node({}))
    theirs = (Node({"b": 1, "a": 2}), Node({}), Node({"c": 3, "up": 0}), Node({}))
    assert same_objects(ours, theirs) == {0: 0, 1: 2, 2: 1, 3: 3}
    assert same_objects(ours, (Node({"a": 1}), Node({}))) == {0: 0, 1: 1}
