"""Networks laid out as cells of Flax and Equinox are read back as they were; what no cell holds is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flax_trees import contents
from hypothesis import given
from hypothesis import strategies as st
from networks import MERGES, bidirectional, direction, gated, gates, single

from rnnverify.adapters import restate
from rnnverify.adapters.equinox import adapter as equinox
from rnnverify.adapters.flax import adapter as flax
from rnnverify.adapters.layout import Layout
from rnnverify.adapters.layouts import LayoutName, lay_out
from rnnverify.adapters.reading import Reading
from rnnverify.canonical import GATES, CellKind, Direction, Gating, Layer, Merge, Network
from rnnverify.errors import UnsupportedError

TARGET = Path("target")
N = GATES["gru"].index("n")
ZEROS = np.zeros((4, 4), np.float32)


@st.composite
def networks(draw: st.DrawFn, cells: tuple[CellKind, ...], merges: tuple[Merge, ...] = ("concat",)) -> Network:
    """Stacks of up to three layers of these cells; of one that runs backward, the outputs are in that order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers: list[Layer] = []
    I = draw(st.integers(1, 4))
    for _ in range(draw(st.integers(1, 3))):
        cell, H = draw(st.sampled_from(cells)), draw(st.integers(1, 4))
        directions = [
            direction(rng, I, H, reverse=way) if cell == "rnn" else gates(rng, cell, I, H, reverse=way)
            for way in draw(st.sampled_from([(False,), (False, True)]))
        ]
        if draw(st.booleans()):
            none = np.zeros_like(directions[0].bias_input)
            directions = [replace(d, bias_input=none, bias_recurrent=none, has_bias=False) for d in directions]
        layers.append(Layer(tuple(directions), cell=cell, merge="concat"))
        I = layers[-1].output_size
    if [layer.bidirectional for layer in layers].count(True) == layers[-1].bidirectional == 1:  # no other says concat
        layers[-1] = replace(layers[-1], merge=draw(st.sampled_from(merges)))
    return Network(tuple(layers))


def read(layout: Layout) -> Reading:
    held, part = contents(layout.tensors, layout.framework), layout.part or None
    return flax.read(held, part) if layout.framework == "flax" else equinox.read(held, part)


def one_bias(layer: Layer, each: Direction) -> Direction:
    """What both frameworks hold: the sum, rounded once, but for the candidate of a GRU."""
    total, recurrent = each.bias.astype(each.kernel.dtype), np.zeros_like(each.bias_recurrent)
    if layer.cell == "gru":
        total[N], recurrent[N] = each.bias_input[N], each.bias_recurrent[N]
    return replace(each, bias_input=total, bias_recurrent=recurrent)


def assert_equal(found: Network, wanted: Network) -> None:
    assert [(y.cell, len(y.directions)) for y in found.layers] == [(y.cell, len(y.directions)) for y in wanted.layers]
    for (name, layer, mine), (_, _, other) in zip(found.directions(), wanted.directions(), strict=True):
        theirs = one_bias(layer, other)
        assert mine.reverse == theirs.reverse and mine.kernel.dtype == theirs.kernel.dtype
        assert np.array_equal(mine.kernel, theirs.kernel), name
        assert np.array_equal(mine.recurrent_kernel, theirs.recurrent_kernel), name
        assert np.array_equal(mine.bias, theirs.bias), name
        if layer.cell == "gru":
            assert np.array_equal(mine.bias_recurrent[N], theirs.bias_recurrent[N]), name


@given(networks(("rnn", "gru", "lstm"), MERGES))
def test_linen_gives_the_network_back(network: Network) -> None:
    reading = read(lay_out(network, "flax", TARGET))
    stated = restate(reading, network.layers[-1].merge, None)
    assert_equal(stated.network, network)
    assert stated.network.layers[-1].merge == network.layers[-1].merge
    assert {spec["api"] for spec in reading.recipe.layers} == {"linen"}


@given(networks(("rnn", "gru", "lstm")))
def test_nnx_gives_the_network_back_or_refuses_it(network: Network) -> None:
    if any(layer.cell == "gru" and d.bias_recurrent[N].any() for _, layer, d in network.directions()):
        words = r"^target: layer \d has a bias in the recurrent half of its candidate, and nnx.GRUCell has none there"
        with pytest.raises(UnsupportedError, match=words):
            lay_out(network, "nnx", TARGET)
        return
    reading = read(lay_out(network, "nnx", TARGET))
    assert_equal(reading.network, network)
    assert {spec["api"] for spec in reading.recipe.layers} == {"nnx"}


@given(networks(("gru", "lstm")))
def test_equinox_gives_the_network_back(network: Network) -> None:
    reading = read(lay_out(network, "equinox", TARGET))
    assert_equal(reading.network, network)
    for (_, _, mine), (_, _, theirs) in zip(reading.network.directions(), network.directions(), strict=True):
        assert mine.has_bias == theirs.has_bias


@pytest.mark.parametrize("framework", ["flax", "nnx", "equinox"])
def test_what_no_cell_holds_is_refused_by_name(framework: LayoutName) -> None:
    rng = np.random.default_rng(0)
    backward = Layer((gates(rng, "lstm", 3, 4, reverse=True),), cell="lstm")
    both = Layer((gates(rng, "lstm", 3, 4), gates(rng, "lstm", 3, 4, reverse=True)), cell="lstm", merge="sum")
    above = Layer((gates(rng, "lstm", 4, 4),), cell="lstm")
    odd = {
        "has peepholes, which the LSTM cells of .* have not": gated("lstm", peepholes=True),
        "is projected, and the LSTM cells of .* are not": gated("lstm", P=2),
        "clips its cell state, and the LSTM cells of .* do not": gated("lstm", cell_clip=3.0),
        "has the activation tanh of its candidate and relu of its cell state": gated("lstm", output="relu"),
        "resets its state before the recurrent product, and the GRUCell": gated("gru", reset_after=False),
        "runs backward and turns its outputs back, which a file": Network((backward,)),
        "merges its directions by sum for the layer above, which a file": Network((both, above)),
    }
    for words, network in odd.items():
        with pytest.raises(UnsupportedError, match=f"^target: layer 0 {words}.*; convert to "):
            lay_out(network, framework, TARGET)


@pytest.mark.parametrize("framework", ["flax", "nnx"])
def test_an_activation_with_numbers_is_none_that_an_option_sets(framework: LayoutName) -> None:
    with pytest.raises(UnsupportedError, match=r"has the activation elu\(0.5\), which a file of Flax does not state"):
        lay_out(single(activation="elu(0.5)"), framework, TARGET)


def test_equinox_has_two_cells_and_one_activation_for_each_place() -> None:
    with pytest.raises(UnsupportedError, match="layer 0 is a vanilla recurrent layer, and Equinox has a GRUCell and"):
        lay_out(single(), "equinox", TARGET)
    relu = replace(gated("lstm").layers[0], activation="relu")
    with pytest.raises(UnsupportedError, match="has the activation relu, and the cells of Equinox have tanh only"):
        lay_out(Network((relu,)), "equinox", TARGET)
    with pytest.raises(UnsupportedError, match="has the gate activation hard_sigmoid, and the cells of Equinox have"):
        lay_out(gated("gru", activation="hard_sigmoid"), "equinox", TARGET)


def test_names_are_those_that_flax_gives() -> None:
    names = [*lay_out(single(), "flax", TARGET).tensors]
    assert names == ["params/cell/i/kernel", "params/cell/h/kernel", "params/cell/i/bias"]
    stack = Network((bidirectional().layers[0], Layer((direction(np.random.default_rng(0), 8, 2),))))
    cells = {name.rpartition("/")[0].rpartition("/")[0] for name in lay_out(stack, "nnx", TARGET).tensors}
    assert cells == {"layers/0/forward_rnn/cell", "layers/0/backward_rnn/cell", "layers/1/cell"}


def test_names_that_are_given_are_kept() -> None:
    layout = lay_out(bidirectional(), "flax", TARGET, ["params/a,params/b"])
    assert {name.split("/")[1] for name in layout.tensors} == {"a", "b"} and layout.part == "a,b"
    assert_equal(read(layout).network, bidirectional())
    fallen_back = lay_out(bidirectional(), "flax", TARGET, ["params/a"])  # of a layer with one direction
    assert next(iter(fallen_back.tensors)) == "params/forward_rnn/cell/i/kernel"


def test_what_the_file_does_not_state_is_said() -> None:
    rng = np.random.default_rng(0)
    layer = Layer((gates(rng, "lstm", 3, 4), gates(rng, "lstm", 3, 4, reverse=True)), "relu", "lstm", merge="mul")
    network = Network((replace(layer, gating=Gating("hard_sigmoid")),))
    (words,) = [note for note in lay_out(network, "flax", TARGET).notes if "state" in note]
    said = "the file does not state activation relu, gate activation hard_sigmoid, merge mode mul"
    assert words == f"{said}: the code that loads it has to"
    above = replace(single(8, 2, activation="relu", reverse=True).layers[0], time_restored=False)
    stack = Network((bidirectional().layers[0], above))
    (words,) = [note for note in lay_out(stack, "nnx", TARGET).notes if "state" in note]
    assert "state activation relu of layer 1, that layer 1 runs backward: the code" in words
    plain = lay_out(gated("lstm"), "flax", TARGET).notes
    assert plain == ("the two biases are stored as one, their sum rounded once",)


def test_a_missing_bias_is_zeros_in_flax_and_none_in_equinox() -> None:
    network = gated("gru")
    none = replace(network.layers[0].directions[0], bias_input=ZEROS[:3], bias_recurrent=ZEROS[:3], has_bias=False)
    network = Network((replace(network.layers[0], directions=(none,)),))
    layout = lay_out(network, "flax", TARGET)
    assert not layout.tensors["params/cell/hn/bias"].any()
    assert layout.notes == ("cells of Flax always have a bias: where there was none, zeros are stored",)
    assert [*lay_out(network, "equinox", TARGET).tensors] == ["leaf 0", "leaf 1"]


def test_only_one_of_two_directions_that_has_a_bias() -> None:
    rng = np.random.default_rng(0)
    ahead, back = gates(rng, "lstm", 3, 4), gates(rng, "lstm", 3, 4, reverse=True)
    back = replace(back, bias_input=ZEROS, bias_recurrent=ZEROS, has_bias=False)
    network = Network((Layer((ahead, back), cell="lstm"),))
    assert len(lay_out(network, "equinox", TARGET).tensors) == 5
    assert_equal(read(lay_out(network, "equinox", TARGET)).network, network)


@pytest.mark.parametrize("framework", ["flax", "nnx", "equinox"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_the_dtype_is_kept(framework: LayoutName, dtype: str) -> None:
    network = gated("lstm").mapped(lambda array: array.astype(dtype))
    assert {array.dtype.name for array in lay_out(network, framework, TARGET).tensors.values()} == {dtype}


def test_a_sum_of_biases_that_is_too_large() -> None:
    large = np.full((4, 4), 60000, np.float16)
    layer = gated("lstm").mapped(lambda array: array.astype(np.float16)).layers[0]
    one = replace(layer.directions[0], bias_input=large, bias_recurrent=large)
    with pytest.raises(UnsupportedError, match="the biases of layer 0 add up to more than float16 holds"):
        lay_out(Network((replace(layer, directions=(one,)),)), "equinox", TARGET)
