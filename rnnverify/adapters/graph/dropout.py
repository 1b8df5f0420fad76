"""Dropout in a TensorFlow graph that was made for training: a random mask, which is no part of the model.

    x / keep_prob * floor(keep_prob + uniform)             TensorFlow 0.6 to 1.12
    x * (1 / keep_prob) * cast(uniform >= rate)            1.13 to 2.11
    where(uniform >= rate, x * (1 / keep_prob), 0)         2.12 to 2.21

(tensorflow/python/ops/nn_ops.py)
"""

from __future__ import annotations

from collections.abc import Iterator

from rnnverify.adapters.graph.walk import CHOICES, PASSES, Readers, origin, producers_near
from rnnverify.containers.tf_graph import Graph, Node

_SCALES = {"Mul", "RealDiv", "Div"}
_MASKS = {"Floor", "Cast", "GreaterEqual"}
_NEAR = 16  # nodes between a mask and the random numbers that it is made of


def dropped(graph: Graph, readers: Readers, node: Node, k: int) -> Iterator[Node]:
    """Where `node`, which takes something as input `k`, scales it for a dropout or drops of it: what that gives."""
    if _drops(graph, node, k):
        yield node
    elif node.op in _SCALES and k == 0:
        yield from (after for after, at, _ in readers.beyond(node, PASSES) if _drops(graph, after, at))


def before_dropout(graph: Graph, node: Node) -> str:
    """What `node` has dropped something of; empty where it is no dropout."""
    at = next((k for k in range(len(node.inputs)) if _drops(graph, node, k)), None)
    if at is None:
        return ""
    scaled = origin(graph, node.inputs[at])
    return scaled.inputs[0] if scaled is not None and scaled.op in _SCALES else node.inputs[at]


def _drops(graph: Graph, node: Node, k: int) -> bool:
    """Whether `node` lets a random part of its input `k` through."""
    if node.op in CHOICES:
        return k == 1 and _is_mask(graph, node.inputs[0])
    return node.op == "Mul" and k == 0 and _is_mask(graph, node.inputs[1])


def _is_mask(graph: Graph, tensor: str) -> bool:
    node = origin(graph, tensor)
    if node is None or node.op not in _MASKS:
        return False
    return any("RandomUniform" in each.op for each in producers_near(graph, node, _NEAR))
