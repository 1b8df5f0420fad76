"""From framework to framework and back to the first, in any order: the weights are those that set out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from networks import direction, gates
from test_layouts import as_keras_model, read_torch
from test_onnx_layout import written
from tf_cells import holding

from rnnverify.adapters.keras import adapter as keras
from rnnverify.adapters.layouts import Layout, lay_out
from rnnverify.adapters.onnx import adapter as onnx
from rnnverify.adapters.tensorflow import adapter as tensorflow
from rnnverify.canonical import GATES, Array, CellKind, Direction, Gating, Layer, Network
from rnnverify.containers.contents import FrameworkName
from rnnverify.weights import compare_weights

READ: Mapping[FrameworkName, Callable[[Layout], Network]] = {
    "torch": read_torch,
    "keras": lambda layout: keras.read(as_keras_model(layout), layout.part or None).network,
    "onnx": lambda layout: onnx.read(written(layout), layout.part or None).network,
    "tensorflow": lambda layout: tensorflow.read(holding(layout.tensors), layout.part or None).network,
}
TWO_BIASES = ("torch", "onnx")


@st.composite
def journeys(draw: st.DrawFn) -> tuple[Network, list[FrameworkName]]:
    """A network, and frameworks that can all hold it: the first once more at the end."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cell: CellKind = draw(st.sampled_from(("rnn", "gru", "lstm")))
    after = draw(st.booleans()) or cell != "gru"
    both, I = draw(st.booleans()), draw(st.integers(1, 3))
    layers: list[Layer] = []
    for _ in range(draw(st.integers(1, 3))):
        H = draw(st.integers(1, 3))
        made = [direction(rng, I, H) if cell == "rnn" else gates(rng, cell, I, H) for _ in range(1 + both)]
        turned = tuple(replace(one, reverse=bool(k)) for k, one in enumerate(made))
        layers.append(Layer(turned, cell=cell, gating=Gating(reset_after=after)))
        I = layers[-1].output_size
    lacks = {"tensorflow"} if cell == "gru" and after else {"torch"} if cell == "gru" else set()
    able = [framework for framework in READ if framework not in lacks]
    route = draw(st.lists(st.sampled_from(able), min_size=1, max_size=5))
    return Network(tuple(layers)), [route[-1], *route]


def arrived(network: Network, framework: FrameworkName) -> Network:
    """`network` as `framework` gives it back; a checkpoint alone does not state the formula."""
    found = READ[framework](lay_out(network, framework, Path("target")))
    pairs = zip(found.layers, network.layers, strict=True)
    return Network(tuple(replace(a, activation=b.activation, gating=b.gating) for a, b in pairs))


def kept(d: Direction) -> list[Array]:
    return [array for name, array in d.tensors() if not name.startswith("bias")]


@given(journeys())
def test_weights_come_back(journey: tuple[Network, list[FrameworkName]]) -> None:
    """Kernels bit for bit; so are biases once they were added up, where no forget bias is taken off them."""
    network, route = journey
    (first, *rest) = route
    start = arrived(network, first)
    now = start
    for framework in rest:
        before, now = now, arrived(now, framework)
        assert not any(tensor.differing for tensor in compare_weights(before, now)[0]), framework
    for (_, layer, out), (_, _, back) in zip(start.directions(), now.directions(), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(kept(out), kept(back), strict=True))
        added_up = any(framework not in TWO_BIASES for framework in rest)
        if layer.cell == "gru" and layer.gating.reset_after:
            n = GATES["gru"].index("n")  # whose two biases every framework here keeps apart
            assert np.array_equal(out.bias_input, back.bias_input)
            assert np.array_equal(out.bias_recurrent[n], back.bias_recurrent[n])
        elif "tensorflow" not in route or layer.cell != "lstm":
            total = out.bias.astype(np.float32) if added_up else out.bias
            assert np.array_equal(total, back.bias)
