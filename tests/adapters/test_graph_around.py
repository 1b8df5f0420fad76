"""Embeddings and dense layers in graphs that TensorFlow wrote: what they compute, and where nothing is taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import cell, const, graph, op

from rnnverify import reference
from rnnverify.adapters.graph.around import Found, find_around
from rnnverify.adapters.graph.recurrence import find_recurrences
from rnnverify.adapters.reading import Reading
from rnnverify.adapters.tensorflow.adapter import read
from rnnverify.around import apply, features
from rnnverify.canonical import Array
from rnnverify.containers import open_model
from rnnverify.containers.tf_graph import Node
from rnnverify.sides import open_side, parse
from rnnverify.trace import ZERO, Batch

HEADS = Path(__file__).parents[2] / "fixtures" / "heads"


def reading(name: str) -> Reading:
    found = open_side(parse(str(HEADS / name), "A")).reading
    assert found is not None
    return found


def computed(found: Reading, tokens: Array) -> tuple[Array, Array]:
    """What embedding, cells and dense layers make of `tokens`: of the outputs of every step, and of the last states."""
    table, head = found.around.embedding, found.around.head
    assert table and head
    run = reference.run(found.network, (Batch(ZERO, features(table, tokens)),)).runs[ZERO]
    last = np.concatenate(run.h_n[-len(found.network.layers[-1].directions) :], axis=1)
    return apply(head, run.y), apply(head, last)


@pytest.mark.parametrize(
    ("name", "dense"),
    [
        ("two_layers", [("below", "relu"), ("above", "softmax")]),
        ("both_ways", [("softmax_w", "linear")]),
        ("last_state", [("softmax_w", "tanh")]),
        ("tied", [("words", "linear")]),
        ("static", [("softmax_w", "sigmoid")]),
        ("projected", [("softmax_w", "linear")]),
        ("projected_in_functions", [("softmax_w", "linear")]),
        ("dropped", [("fc", "linear")]),
        ("switched", [("fc", "linear")]),
    ],
)
def test_what_a_graph_shows_computes_its_outputs(name: str, dense: list[tuple[str, str]]) -> None:
    found = reading(f"{name}.pb")
    assert found.around.embedding and found.around.embedding.name == "words" and found.around.head
    assert [(d.name, d.activation) for d in found.around.head.layers] == dense
    assert all(d.stated for d in found.around.head.layers)
    assert not found.around.assumptions and not found.not_compared
    recorded = np.load(HEADS / f"{name}.npz")
    every, last = computed(found, recorded["x"])
    assert np.abs((every if recorded["y"].ndim == 3 else last) - recorded["y"]).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "left"), [("two_heads", ("a (2 tensors)", "b (2 tensors)")), ("scaled", ("fc (2 tensors)",))]
)
def test_what_is_no_plain_chain_is_named_and_not_taken(name: str, left: tuple[str, ...]) -> None:
    """Though shapes would allow it: the graph shows that something else is computed."""
    found = reading(f"{name}.pb")
    assert found.around.head is None and found.not_compared == left
    assert found.around.embedding and found.around.embedding.name == "words"


def test_a_graph_of_training_leaves_the_last_activation_open() -> None:
    """Its loss is of the sums, what it predicts of their softmax."""
    found = reading("training.ckpt")
    assert found.around.head and not found.around.assumptions
    (dense,) = found.around.head.layers
    assert (dense.name, dense.activation, dense.stated) == ("softmax_w", "linear", False)
    assert found.roles["softmax_b"] == "dense softmax_w bias" and found.roles["words"] == "embedding table"
    assert found.unused["softmax_w/Adam"] == "state of the optimizer or the trainer"


def test_a_layer_that_was_not_saved_is_none() -> None:
    """The graph beside a checkpoint may have more variables than the file."""
    contents = open_model(HEADS / "training.ckpt")
    for missing in ("softmax_w", "softmax_b", "words"):
        rest = {name: tensor for name, tensor in contents.tensors.items() if not name.startswith(missing)}
        found = read(replace(contents, tensors=rest), None)
        assert (found.around.head is None) == (missing != "words")
        assert (found.around.embedding is None) == (missing == "words")


def shown(*nodes: Node) -> Found:
    """What stands around a BasicRNNCell with `nodes` behind its state `act`, or before its input `steps`."""
    whole = {**cell(), **graph(*nodes)}
    ((way,),) = find_recurrences(whole).values()
    return find_around(whole, [way], [way], {"kernel", "bias"})


W, B = op("W", "VariableV2"), op("b", "VariableV2")
Z = (W, B, op("product", "MatMul", "act", "W"), op("sum", "BiasAdd", "product", "b"))


def test_each_rule_in_a_small_graph() -> None:
    (plain,) = shown(*Z).dense
    assert (plain.kernel, plain.bias, plain.activation, plain.stated) == ("W", "b", "linear", True)
    (alone,) = shown(W, op("product", "MatMul", "act", "W")).dense
    assert (alone.bias, alone.transposed) == ("", False)
    assert shown(W, op("product", "MatMul", "W", "act")).dense == ()  # the state is no weight
    turned = {"transpose_a": bytes([40, 1])}
    assert shown(W, op("product", "MatMul", "act", "W", **turned)).dense == ()
    assert (
        shown(W, op("half", "Mul", "act", "two"), const("two", 2.0), op("product", "MatMul", "half", "W")).dense == ()
    )
    (soft,) = shown(*Z, op("out", "Softmax", "sum"), op("top", "ArgMax", "out", "axis")).dense
    assert (soft.activation, soft.stated) == ("softmax", True)
    (both,) = shown(*Z, op("out", "Softmax", "sum"), op("other", "Sigmoid", "sum")).dense
    assert (both.activation, both.stated) == ("linear", False)
    (other,) = shown(*Z, op("out", "Erf", "sum")).dense
    assert (other.activation, other.stated) == ("linear", False)
    (trained,) = shown(*Z, op("out", "Sigmoid", "sum"), op("gradients/sum", "Mul", "sum", "out")).dense
    assert (trained.activation, trained.stated) == ("sigmoid", True)


def test_layers_that_feed_each_other() -> None:
    V = op("V", "VariableV2")
    direct = shown(*Z, V, op("next", "NextIteration", "act"), op("on", "MatMul", "sum", "V")).dense
    assert [(d.kernel, d.activation, d.stated) for d in direct] == [("W", "linear", True), ("V", "linear", True)]
    through = shown(*Z, V, op("r", "Relu", "sum"), op("loss", "Square", "sum"), op("on", "MatMul", "r", "V")).dense
    assert [(d.kernel, d.activation, d.stated) for d in through] == [("W", "relu", True), ("V", "linear", True)]


def test_an_embedding_is_rows_of_a_table() -> None:
    table, ids = op("table", "VariableV2"), op("ids", "Placeholder")
    rows = op("steps", "GatherV2", "table", "ids", "axis_of_rows")
    zero, one = const("axis_of_rows", 0, np.int32), const("axis_of_rows", 1, np.int32)
    found = shown(table, ids, zero, rows).embedding
    assert found and found.kernel == "table"
    assert shown(table, ids, one, rows).embedding is None
    assert (
        shown(table, ids, zero, op("rows", *rows.op.split(), *rows.inputs), op("steps", "Sqrt", "rows")).embedding
        is None
    )
    assert shown().embedding is None
