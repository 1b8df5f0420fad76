"""Cells written by hand: told by names and shapes, spelled by a selector, never guessed where there is a choice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_torch import RNG, opened, read, states

from rnnverify.adapters.torch import adapter
from rnnverify.canonical import Array
from rnnverify.errors import FileError, SelectorError

FIXTURES = Path(__file__).parents[2] / "fixtures"
I, H = 3, 2


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def linear(name: str, rows: int, columns: int, bias: bool = True) -> dict[str, Array]:
    return {f"{name}.weight": normal(rows, columns)} | ({f"{name}.bias": normal(rows)} if bias else {})


def pair(x: str, h: str, inputs: int = I) -> dict[str, Array]:
    return linear(x, H, inputs) | linear(h, H, H)


@pytest.mark.parametrize("case", ["torch-1.0.0-py27/rnn_a_cat", "torch-1.0.1/rnn_a_hand"])
def test_genuine_ones_compute_what_pytorch_computed(case: str) -> None:
    folder = FIXTURES / "genuine" / case
    reading = adapter.read(opened(folder / json.loads((folder / "case.json").read_text())["main_file"]), None)
    with np.load(folder / "io.npz") as io:
        assert np.abs(states(reading.network, io["x"], relu=False) - io["y"]).max() < 2e-6
    assert not reading.activation_stated and not reading.unused
    assert len(reading.assumptions) == 1


@pytest.mark.parametrize(
    "names",
    ["i2h h2h", "in2hid hid2hid", "input2hidden hidden2hidden", "x2h h2h", "ih hh", "W_ih W_hh", "Wx Wh", "W_xh W_hh",
     "linear_ih linear_hh", "fc_x fc_h", "x_proj h_proj", "cell.i2h cell.h2h", "input_to_hidden hidden_to_hidden",
     "W_in W_rec", "U W"],
)  # fmt: skip
def test_usual_names_of_a_pair_are_known(names: str) -> None:
    x, h = names.split()
    arrays = pair(x, h) | linear("decoder", 4, H)
    reading = read(arrays)
    direction = reading.network.layers[0].directions[0]
    assert reading.part == f"{x},{h}"
    assert direction.kernel[0].tobytes() == np.ascontiguousarray(arrays[f"{x}.weight"].T).tobytes()
    assert direction.recurrent_kernel[0].tobytes() == np.ascontiguousarray(arrays[f"{h}.weight"].T).tobytes()
    assert direction.bias_input[0].tobytes() == arrays[f"{x}.bias"].tobytes()
    assert direction.bias_recurrent[0].tobytes() == arrays[f"{h}.bias"].tobytes()
    assert reading.roles[f"{h}.weight"] == "layer 0 recurrent kernel (transposed)"
    assert reading.around.words == ("Dense 'decoder', 2 -> 4",)
    (said,) = reading.assumptions
    assert f"{x},{h} is a cell written by hand" in said


@pytest.mark.parametrize(("bias_x", "bias_h"), [(True, False), (False, True), (False, False)])
def test_a_bias_that_is_not_there_is_zero(bias_x: bool, bias_h: bool) -> None:
    reading = read(linear("i2h", H, I, bias_x) | linear("h2h", H, H, bias_h))
    direction = reading.network.layers[0].directions[0]
    assert direction.has_bias == (bias_x or bias_h)
    assert bool(direction.bias_input.any()) == bias_x
    assert bool(direction.bias_recurrent.any()) == bias_h


@pytest.mark.parametrize(
    "arrays",
    [linear("input", H, I) | linear("hidden", H, H), linear("fc1", H, I) | linear("fc2", H, H), linear("fc", H, I + H),
     linear("i2h", 3 * H, I) | linear("h2h", 3 * H, H), {"weight": normal(H, I + H)}],
)  # fmt: skip
def test_other_layers_are_no_cell(arrays: dict[str, Array]) -> None:
    with pytest.raises(SelectorError, match=r"has no tensors named as in nn\.RNN"):
        read(arrays)


def test_names_that_are_used_both_ways_are_told_by_the_square_one_or_not_at_all() -> None:
    assert read(pair("W", "U")).part == "W,U"
    with pytest.raises(SelectorError) as caught:
        read(pair("W", "U", H))
    assert "m.pt#W,U" in str(caught.value) and "m.pt#U,W" in str(caught.value)
    assert read(pair("W", "U", H), "U,W").part == "U,W"


def test_one_linear_over_both_is_split_and_the_other_order_can_be_spelled() -> None:
    arrays = linear("i2h", H, I + H) | linear("i2o", 4, I + H)
    W = arrays["i2h.weight"]
    for selector, x, h in ((None, W[:, :I], W[:, I:]), ("i2h:hx", W[:, H:], W[:, :H])):
        reading = read(arrays, selector)
        direction = reading.network.layers[0].directions[0]
        assert np.array_equal(direction.kernel[0], x.T) and np.array_equal(direction.recurrent_kernel[0], h.T)
        assert reading.roles["i2h.weight"] == "layer 0 kernel and recurrent kernel (transposed)"
        assert "reads cat([" in reading.assumptions[0]
        (made,) = reading.recipe.layers
        assert (made["module"], made["form"]) == ("Cell", "hx" if selector else "xh")
        assert reading.recipe.tensors["i2h.weight"].tobytes() == W.tobytes()  # whole, as the file has it
        json.dumps(reading.recipe.layers)


def test_one_linear_beside_an_unnamed_square_one_is_a_choice() -> None:
    with pytest.raises(SelectorError) as caught:
        read(linear("i2h", H, I + H) | linear("mix", H, H))
    assert "m.pt#i2h," in str(caught.value) and "m.pt#i2h,mix" in str(caught.value)


def test_bare_parameters_are_turned_by_their_shapes() -> None:
    kept = {"W_xh": normal(I, H), "W_hh": normal(H, H), "b_h": normal(H), "W_hq": normal(H, 4), "b_q": normal(4)}
    reading = read(kept)
    direction = reading.network.layers[0].directions[0]
    assert np.array_equal(direction.kernel[0], kept["W_xh"])
    assert np.array_equal(direction.recurrent_kernel[0], kept["W_hh"])
    assert np.array_equal(direction.bias[0], kept["b_h"].astype(np.float64))
    assert reading.roles["W_xh"] == "layer 0 kernel"
    square = kept | {"W_xh": normal(H, H)}
    with pytest.raises(SelectorError, match=r"W_xh,W_hh:linear.*W_xh,W_hh:matmul"):
        read(square)
    with pytest.raises(SelectorError, match="two ways"):
        read(square, "W_xh,W_hh")
    turned = read(square, "W_xh,W_hh:linear").network.layers[0].directions[0]
    assert np.array_equal(turned.kernel[0], square["W_xh"].T)


def test_bare_biases_of_both_are_told_apart() -> None:
    kept = {"W_ih": normal(H, I), "W_hh": normal(H, H), "b_ih": normal(H), "b_hh": normal(H)}
    direction = read(kept).network.layers[0].directions[0]
    assert np.array_equal(direction.bias_input[0], kept["b_ih"])
    assert np.array_equal(direction.bias_recurrent[0], kept["b_hh"])


def test_any_names_can_be_spelled_and_cells_can_be_stacked() -> None:
    arrays = pair("a.fc1", "a.fc2") | linear("b.p", 4, H) | linear("b.q", 4, 4)
    reading = read(arrays, "a.fc1,a.fc2+b.p,b.q")
    assert [each.hidden_size for each in reading.network.layers] == [H, 4]
    with pytest.raises(FileError, match=r"reads 3 features, but b\.p,b\.q gives 4"):
        read(arrays, "b.p,b.q+a.fc1,a.fc2")


@pytest.mark.parametrize(
    "selector", ["fc1", "fc2:xh", "fc1,fc3", "fc1,fc2:rows", "fc1:xy", "fc2,fc1", "fc1,fc2,fc3", "x,y"]
)
def test_a_spelling_that_makes_no_cell_is_one_clear_error(selector: str) -> None:
    arrays = linear("fc1", H, I) | linear("fc2", H, H) | linear("fc3", 4, I)
    with pytest.raises(SelectorError, match=r"m\.pt"):
        read(arrays, selector)


def test_a_hand_written_name_beside_an_nn_rnn_is_not_looked_for() -> None:
    rnn = {"weight_ih_l0": normal(H, I), "weight_hh_l0": normal(H, H), "bias_ih_l0": normal(H), "bias_hh_l0": normal(H)}
    arrays = {f"rnn.{name}": array for name, array in rnn.items()} | pair("attention.Wx", "attention.Wh")
    assert read(arrays).part == "rnn"
    assert read(arrays, "attention.Wx,attention.Wh").recipe.layers[0]["module"] == "Cell"


def test_a_cell_of_several_dicts_knows_its_own_root() -> None:
    arrays = pair("model/i2h", "model/h2h") | pair("ema/i2h", "ema/h2h")
    roots = {"model/": ["model"], "ema/": ["ema"]}
    (made,) = read(arrays, "ema/i2h,ema/h2h", roots=roots).recipe.layers
    assert made["root"] == ["ema"]
    keys = made["keys"]
    assert isinstance(keys, dict) and keys["h2h.bias"] == "ema/h2h.bias"
