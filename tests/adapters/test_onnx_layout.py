"""Networks laid out as ONNX nodes are read back as they were; what no node computes is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import bidirectional, networks, single
from onnx_files import graph, model, node, tensor, value

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.layout import Layout
from rnnverify.adapters.layouts import lay_out
from rnnverify.adapters.onnx.adapter import read
from rnnverify.canonical import CellKind, Direction, Gating, Layer, Network
from rnnverify.containers.contents import Contents
from rnnverify.containers.onnx_graph import parse_graph
from rnnverify.errors import UnsupportedError

TARGET = Path("target")
GATES: dict[CellKind, int] = {"rnn": 1, "gru": 3, "lstm": 4}
NAMES = ("tanh", "sigmoid", "relu", "linear", "keras2_hard_sigmoid", "elu(0.5)", "affine(2,-0.5)", "leaky_relu")


def written(layout: Layout) -> Contents:
    """The model that the writer makes of `layout`, as far as reading is concerned."""
    nodes, at = [], "x"
    for k, layer in enumerate(layout.layers):
        ends = []
        for spec in layer["nodes"]:
            inputs = [at] + [""] * 7
            for name in spec["tensors"]:
                inputs[{"W": 1, "R": 2, "B": 3, "P": 7}[name.rpartition(".")[2]]] = name
            while not inputs[-1]:
                inputs.pop()
            own = spec["name"]
            nodes.append(node(spec["op"], inputs, [f"{own}/Y"], own, **spec["attributes"]))
            nodes.append(node("Transpose", [f"{own}/Y"], [f"{own}/T"], perm=[0, 2, 1, 3]))
            nodes.append(node("Reshape", [f"{own}/T", "shape"], [f"{own}/y"]))
            ends.append(f"{own}/y")
        at = ends[0]
        if len(ends) == 2:
            at = f"merged {k}"
            nodes.append(node({"sum": "Add", "mul": "Mul"}[layer["merge"]], ends, [at]))
    constants = [tensor(name, array) for name, array in layout.tensors.items()]
    data = model(graph(nodes, [*constants, tensor("shape", np.array([0, 0, -1]))], [value("x")]))
    found, _ = parse_graph(TARGET, data)
    return Contents(TARGET, "ONNX", "onnx", found.constants, metadata={"graph": found})


def layer(rng: np.random.Generator, cell: CellKind, I: int, H: int, ways: tuple[bool, ...], **facts: Any) -> Layer:
    def some(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    G, peepholes = GATES[cell], facts.pop("peepholes", False)
    directions = tuple(
        Direction(
            some(G, I, H),
            some(G, H, H),
            some(G, H),
            some(G, H),
            reverse,
            peephole=some(3, H) if peepholes and cell == "lstm" else None,
        )
        for reverse in ways
    )
    return Layer(directions, cell=cell, **facts)


@st.composite
def gated(draw: st.DrawFn) -> Network:
    """Stacks of cells of every kind, with any activation that ONNX has."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers: list[Layer] = []
    I = draw(st.integers(1, 4))
    for _ in range(draw(st.integers(1, 3))):
        cell, H = draw(st.sampled_from([*GATES])), draw(st.integers(1, 4))
        ways = draw(st.sampled_from([(False,), (True,), (False, True)]))
        clip = draw(st.sampled_from(["", "clip(3)"]))
        f, g, h = (draw(st.sampled_from(NAMES)) for _ in range(3))
        output = "" if cell != "lstm" or (h == g and not clip) else h
        gating = Gating(clip + f, output, draw(st.booleans()) or cell != "gru") if cell != "rnn" else Gating()
        merge = draw(st.sampled_from(["concat", "sum", "mul"])) if len(ways) == 2 else "concat"
        facts = {"activation": clip + g, "gating": gating, "merge": merge, "peepholes": draw(st.booleans())}
        layers.append(layer(rng, cell, I, H, ways, **facts))
        I = layers[-1].output_size
    return Network(tuple(layers))


def assert_equal(found: Network, wanted: Network) -> None:
    for mine, theirs in zip(found.layers, wanted.layers, strict=True):
        for name in ("cell", "activation", "gating", "merge", "time_restored"):
            assert getattr(mine, name) == getattr(theirs, name), name
        for ours, stated in zip(mine.directions, theirs.directions, strict=True):
            assert (ours.reverse, ours.has_bias) == (stated.reverse, stated.has_bias)
            for (name, a), (other, b) in zip(ours.tensors(), stated.tensors(), strict=True):
                assert name == other and a.dtype == b.dtype and np.array_equal(a, b), name


@given(gated())
def test_gated_networks_come_back(network: Network) -> None:
    assert_equal(read(written(lay_out(network, "onnx", TARGET)), None).network, network)


@given(networks())
def test_vanilla_networks_come_back_or_are_refused(network: Network) -> None:
    if not all(layer.time_restored and layer.merge != "ave" for layer in network.layers):
        with pytest.raises(
            UnsupportedError, match=r"^target: layer \d (merges its directions by ave|hands its outputs)"
        ):
            lay_out(network, "onnx", TARGET)
        return
    assert_equal(read(written(lay_out(network, "onnx", TARGET)), None).network, network)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    held = {"tanh", "relu", "sigmoid", "softsign", "softplus", "linear", "leaky_relu", "elu"}
    if name in held | {"hard_sigmoid", "keras2_hard_sigmoid"}:
        network = single(activation=name)
        assert_equal(read(written(lay_out(network, "onnx", TARGET)), None).network, network)
    else:
        with pytest.raises(UnsupportedError, match=f"layer 0 has the activation {name}, which ONNX has not"):
            lay_out(single(activation=name), "onnx", TARGET)


def test_what_no_node_computes_is_refused_by_name() -> None:
    rng = np.random.default_rng(0)
    base = layer(rng, "lstm", 3, 4, (False,))
    projected = replace(
        base.directions[0],
        recurrent_kernel=base.directions[0].recurrent_kernel[:, :2],
        projection=np.ones((4, 2), np.float32),
    )
    odd = {
        "clips its cell state": replace(base, gating=Gating(cell_clip=3.0)),
        "projects its state": replace(base, directions=(projected,)),
        "clips what goes into some": replace(base, activation="clip(3)tanh"),
        "merges its directions by ave": bidirectional(merge="ave").layers[0],
    }
    for words, each in odd.items():
        with pytest.raises(UnsupportedError, match=f"target: layer 0 {words}.*; convert to a Keras file"):
            lay_out(Network((each,)), "onnx", TARGET)


def test_names_and_dtypes() -> None:
    network = single()
    layout = lay_out(network, "onnx", TARGET, ["encoder/rnn"])
    assert [*layout.tensors] == ["encoder/rnn.W", "encoder/rnn.R", "encoder/rnn.B"]
    assert {array.dtype.name for array in layout.tensors.values()} == {"float32"}
    assert read(written(layout), None).part == "encoder/rnn"
    without = replace(network.layers[0].directions[0], has_bias=False)
    zeros = np.zeros_like(without.bias_input)
    without = replace(without, bias_input=zeros, bias_recurrent=zeros)
    layout = lay_out(Network((replace(network.layers[0], directions=(without,)),)), "onnx", TARGET)
    assert [*layout.tensors] == ["rnn.W", "rnn.R"]
