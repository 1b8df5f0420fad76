"""The activation of recurrent steps in graphs, written node by node."""

from __future__ import annotations

import pytest
from tf_files import chunk

from rnnverify.containers.protobuf import parse
from rnnverify.containers.tf_recurrence import activation_in

Op = tuple[str, str, list[str]]


def function(*ops: Op) -> bytes:
    nodes = (
        chunk(1, name.encode()) + chunk(2, op.encode()) + b"".join(chunk(3, read.encode()) for read in inputs)
        for name, op, inputs in ops
    )
    return chunk(1, b"".join(chunk(3, node) for node in nodes))


def step(*readers: Op) -> bytes:
    """x W + b + h U, as Keras 3 adds it up, and what reads it."""
    return function(
        ("xw", "MatMul", ["x:item:0", "w:value:0"]),
        ("xwb", "AddV2", ["xw:product:0", "b:value:0"]),
        ("hu", "MatMul", ["h", "u:value:0"]),
        ("sum", "AddV2", ["xwb:z:0", "hu:product:0"]),
        *readers,
    )


TANH = ("act", "Tanh", ["sum:z:0"])
DENSE = function(("m", "MatMul", ["x", "w"]), ("a", "BiasAdd", ["m:product:0", "b"]), ("act", "Relu", ["a:output:0"]))


@pytest.mark.parametrize(
    ("functions", "wanted"),
    [
        ([step(TANH)], "tanh"),
        ([step(("act", "Relu", ["sum:z:0"])), DENSE], "relu"),
        ([step(TANH), step(TANH), DENSE], "tanh"),
        ([step(TANH), step(("act", "Relu", ["sum:z:0"]))], ""),  # two layers, or one of them read wrongly
        ([step(("out", "Identity", ["sum:z:0"]))], ""),  # linear, or an activation of several operations
        ([step(TANH, ("more", "Mul", ["sum:z:0", "sum:z:0"]))], ""),
        ([step()], ""),
        ([step(("after", "NoOp", ["^sum"]), TANH)], "tanh"),
        ([DENSE], ""),
        ([], ""),
    ],
)
def test_an_activation_that_all_steps_have(functions: list[bytes], wanted: str) -> None:
    assert activation_in(parse(chunk(2, b"".join(functions)))) == wanted


def test_sums_in_a_circle_end() -> None:
    circle = function(("a", "AddV2", ["b"]), ("b", "AddV2", ["a"]), ("c", "AddV2", ["c", "m", "m"]))
    assert activation_in(parse(chunk(2, circle))) == ""
