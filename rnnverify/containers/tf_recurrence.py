"""Which activation a vanilla recurrent step has in a TensorFlow 2 graph, where the graph leaves no doubt.

A step is the only place in a network where two matrix products are added: its operations are Add(V2) or BiasAdd over
two MatMul, and the activation is what reads their sum (keras/src/layers/rnn/simple_rnn.py, Keras 3).
"""

from __future__ import annotations

from collections import Counter

from rnnverify.containers.protobuf import Message

_SUMS = {"Add", "AddV2", "BiasAdd"}
_ACTIVATIONS = {"Tanh": "tanh", "Relu": "relu", "Sigmoid": "sigmoid", "Softplus": "softplus", "Softsign": "softsign"}
_ACTIVATIONS |= {"Elu": "elu", "Selu": "selu"}
_MOST_TERMS = 8  # a step has three or four


def activation_in(graph: Message) -> str:
    """The activation that every recurrent step in `graph` (GraphDef) has; empty where there is none, or several.

    GraphDef: library = 2; FunctionDefLibrary: function = 1; FunctionDef: node_def = 3.
    """
    found: set[str] = set()
    for function in graph.message(2).messages(1):
        found |= _steps(function.messages(3))
    name = found.pop() if len(found) == 1 else ""
    return _ACTIVATIONS.get(name, "")


def _steps(nodes: list[Message]) -> set[str]:
    """The operations that read a sum of two products. NodeDef: name = 1, op = 2, input = 3."""
    ops = {node.text(1): node.text(2) for node in nodes}
    inputs = {node.text(1): [bytes(i).decode("utf-8", "replace") for i in node.chunks.get(3, [])] for node in nodes}
    readers: dict[str, list[str]] = {}
    for name, read in inputs.items():
        for each in {_source(i) for i in read}:
            readers.setdefault(each, []).append(name)
    found = set()
    for name, op in ops.items():
        reading = {ops[reader] for reader in readers.get(name, [])}
        if op in _SUMS and not reading & _SUMS and _terms(name, ops, inputs)["MatMul"] == 2:
            found |= reading or {op}
    return found


def _source(read: str) -> str:
    """The node that an input of a function's node names: `node:output:0`, or `^node` for one that only comes before."""
    return "" if read.startswith("^") else read.partition(":")[0]


def _terms(name: str, ops: dict[str, str], inputs: dict[str, list[str]]) -> Counter[str]:
    """The operations whose results the sum `name` adds up."""
    terms: Counter[str] = Counter()
    queue = [_source(i) for i in inputs[name]]
    for _ in range(2 * _MOST_TERMS):  # and not further: a sum may be a part of itself in a file
        if not queue:
            break
        each = queue.pop()
        if ops.get(each) in _SUMS:
            queue += [_source(i) for i in inputs[each]]
        else:
            terms[ops.get(each, "")] += 1
    return terms
