"""Activations by what operations do to numbers."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from graphs import cell, const, graph, op

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.graph.activation import POINTS, is_transposed, read_step
from rnnverify.containers.tf_graph import Node

KNOWN = {
    "tanh": (op("act", "Tanh", "z"),),
    "linear": (op("act", "Identity", "z"),),
    "relu": (const("zero", 0), op("act", "Maximum", "z", "zero")),
    "leaky_relu": (op("act", "LeakyRelu", "z"),),
    "keras2_hard_sigmoid": (
        const("fifth", 0.2),
        const("half", 0.5),
        const("zero", 0),
        const("one", 1),
        op("scaled", "Mul", "fifth", "z"),
        op("moved", "AddV2", "scaled", "half"),
        op("below", "Minimum", "moved", "one"),
        op("act", "Maximum", "below", "zero"),
    ),
    "hard_sigmoid": (
        const("three", 3),
        const("six", 6),
        op("moved", "Add", "z", "three"),
        op("cut", "Relu6", "moved"),
        op("act", "RealDiv", "cut", "six"),
    ),
    "silu": (op("gate", "Sigmoid", "z"), op("act", "Mul", "z", "gate")),
    "mish": (op("soft", "Softplus", "z"), op("gate", "Tanh", "soft"), op("act", "Mul", "z", "gate")),
    "softsign": (
        const("one", 1),
        op("size", "Abs", "z"),
        op("more", "Add", "size", "one"),
        op("act", "Div", "z", "more"),
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_an_activation_is_known_by_its_values(name: str) -> None:
    step = read_step(cell(*KNOWN[name]), "act")
    assert step and (step.activation, step.biases) == (name, ["bias"])
    assert [(product.left, product.weight) for product in step.products] == [("concat", "kernel")]


@pytest.mark.parametrize(
    "nodes",
    [
        (op("act", "Sin", "z"),),
        (op("act", "Softmax", "z"),),
        (op("act", "LeakyRelu", "z", alpha=b"\x25" + struct.pack("<f", 0.1)),),
        (const("two", 2), op("twice", "Mul", "z", "two"), op("act", "Tanh", "twice")),
    ],
)
def test_an_activation_that_is_none_of_them_is_not_named(nodes: tuple[Node, ...]) -> None:
    step = read_step(cell(*nodes), "act")
    assert step and step.activation == "" and nodes[-1].op in step.operations


@pytest.mark.parametrize(
    "nodes",
    [
        (op("noise", "RandomUniform"), op("act", "Mul", "z", "noise")),  # dropout of the state
        (op("act", "Split", "z", "z"),),  # a gate
        (op("other", "MatMul", "x", "kernel"), op("gate", "Sigmoid", "other"), op("act", "Mul", "z", "gate")),
        (op("act", "Tanh", "nowhere"),),
        (op("act", "Tanh", "act"),),  # a cycle that no graph has
        (op("act", "Maximum", "z"),),  # too few inputs
    ],
)
def test_what_is_no_step_is_none(nodes: tuple[Node, ...]) -> None:
    assert read_step(cell(*nodes), "act") is None


def test_sums_that_double_end() -> None:
    doubling = [op("s0", "Placeholder"), *(op(f"s{k}", "Add", f"s{k - 1}", f"s{k - 1}") for k in range(1, 60))]
    assert read_step(graph(*doubling), "s59") is None


def test_points_tell_all_activations_apart() -> None:
    """Those of one formula under two names excepted."""
    same = {frozenset(pair) for pair in (("elu", "celu"),)}
    names = list(ACTIVATIONS)
    for k, a in enumerate(names):
        for b in names[k + 1 :]:
            alike = np.allclose(ACTIVATIONS[a](POINTS), ACTIVATIONS[b](POINTS), rtol=1e-6, atol=1e-6)
            assert alike == ({a, b} in same), (a, b)


def test_products_of_gradients_are_told() -> None:
    true = bytes([0x28, 1])  # AttrValue.b = 5
    assert is_transposed(op("m", "MatMul", "a", "b", transpose_b=true))
    assert is_transposed(op("m", "MatMul", "a", "b", transpose_a=b"\xff"))
    assert not is_transposed(op("m", "MatMul", "a", "b", transpose_a=bytes([0x28, 0])))
