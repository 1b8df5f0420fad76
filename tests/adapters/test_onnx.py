"""RNN nodes of ONNX graphs, to canonical form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_files import graph, model, node, recurrent, tensor, value, weights
from tf_files import chunk

from rnnverify import reference
from rnnverify.adapters.onnx.adapter import read
from rnnverify.adapters.reading import Reading
from rnnverify.canonical import Array, Gating
from rnnverify.containers import open_model
from rnnverify.errors import FileError, SelectorError, UnsupportedError
from rnnverify.trace import ZERO, Batch
from rnnverify.trace_file import load

GENUINE = Path(__file__).parents[2] / "fixtures" / "genuine"

GATED = ["1.12.1/lstm_a_onnx", "1.6.0/gru_ra_onnx", "2.13.0/lstm_bi_onnx"]


def reading(data: bytes, folder: Path, selector: str | None = None) -> Reading:
    path = folder / "model.onnx"
    path.write_bytes(data)
    return read(open_model(path), selector)


@pytest.mark.parametrize(
    "case", ["1.12.1/rnn_2l_onnx", "1.12.1/rnn_bi_onnx", "1.5.1/rnn_a_onnx", "2.13.0/rnn_a_onnx", *GATED]
)
def test_genuine_models_give_the_recorded_states(case: str) -> None:
    folder = GENUINE / f"onnx-from-torch-{case}"
    contents = open_model(folder / "model.onnx")
    found = read(contents, None)
    recorded = load(folder / "io.npz")
    for name, run in reference.run(found.network, recorded.batches).runs.items():
        assert np.abs(run.y - recorded.runs[name].y).max() < 1e-6
    assert found.activation_stated and not found.assumptions
    assert {*found.roles, *found.unused} == set(contents.tensors)


def test_the_weights_are_where_the_layout_says(tmp_path: Path) -> None:
    arrays = weights(I=3, H=4, D=2)
    found = reading(recurrent(arrays, direction="bidirectional", hidden_size=4), tmp_path)
    (layer,) = found.network.layers
    for d, direction in enumerate(layer.directions):
        np.testing.assert_array_equal(direction.kernel[0], arrays["W"][d].T)
        np.testing.assert_array_equal(direction.recurrent_kernel[0], arrays["R"][d].T)
        np.testing.assert_array_equal(direction.bias_input[0], arrays["B"][d, :4])
        np.testing.assert_array_equal(direction.bias_recurrent[0], arrays["B"][d, 4:])
        assert direction.reverse == bool(d) and direction.has_bias
    assert found.roles["W"] == "layer 0 kernel (transposed), both directions"
    assert found.roles["B"] == "layer 0 biases (input, then recurrent), both directions"


def test_without_biases_and_backward(tmp_path: Path) -> None:
    arrays = weights()
    del arrays["B"]
    found = reading(recurrent(arrays, inputs=["X", "W", "R"], direction="reverse"), tmp_path)
    (direction,) = found.network.layers[0].directions
    assert direction.reverse and not direction.has_bias and not direction.bias.any()
    assert found.roles["R"] == "layer 0 reverse recurrent kernel (transposed)"


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({}, "tanh"),
        ({"activations": ["Relu"]}, "relu"),
        ({"activations": ["sigmoid"]}, "sigmoid"),
        ({"activations": ["Softsign"]}, "softsign"),
        ({"activations": ["Softplus"], "clip": 3.0}, "clip(3)softplus"),
        ({"activations": ["LeakyRelu"]}, "leaky_relu(0.01)"),
        ({"activations": ["LeakyRelu"], "activation_alpha": [0.2]}, "leaky_relu"),
        ({"activations": ["HardSigmoid"]}, "keras2_hard_sigmoid"),
        ({"activations": ["HardSigmoid"], "activation_alpha": [1 / 6]}, "hard_sigmoid"),
        (
            {"activations": ["HardSigmoid"], "activation_alpha": [0.3], "activation_beta": [0.4]},
            "hard_sigmoid(0.3,0.4)",
        ),
        ({"activations": ["Elu"]}, "elu"),
        ({"activations": ["Elu"], "activation_alpha": [0.5]}, "elu(0.5)"),
        ({"activations": ["Affine"], "activation_alpha": [2.0], "activation_beta": [-0.5]}, "affine(2,-0.5)"),
        ({"activations": ["Affine"], "activation_alpha": [1.0], "activation_beta": [0.0]}, "linear"),
        ({"activations": ["ScaledTanh"], "activation_alpha": [1.5], "activation_beta": [0.5]}, "scaled_tanh(1.5,0.5)"),
        (
            {"activations": ["ThresholdedRelu"], "activation_alpha": [0.5], "clip": 1.5},
            "clip(1.5)thresholded_relu(0.5)",
        ),
    ],
)
def test_activations_with_their_numbers(attributes: dict[str, Any], name: str, tmp_path: Path) -> None:
    assert reading(recurrent(weights(), **attributes), tmp_path).network.layers[0].activation == name


def test_alpha_is_for_those_that_take_it(tmp_path: Path) -> None:
    both: dict[str, Any] = {"direction": "bidirectional", "activations": ["Elu", "Elu"], "activation_alpha": [0.5, 0.5]}
    assert reading(recurrent(weights(D=2), **both), tmp_path).network.layers[0].activation == "elu(0.5)"
    both |= {"activation_alpha": [0.5]}
    with pytest.raises(UnsupportedError, match=r"the directions of rnn have other activations: elu\(0.5\)/elu; this"):
        reading(recurrent(weights(D=2), **both), tmp_path)
    both |= {"activations": ["Tanh", "LeakyRelu"]}
    with pytest.raises(UnsupportedError, match=r"other activations: tanh/leaky_relu\(0.5\)"):
        reading(recurrent(weights(D=2), **both), tmp_path)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"direction": "sideways"}, "rnn states the direction sideways; known are forward, reverse, bidirectional"),
        ({"activations": ["Gelu"]}, "rnn states the activation Gelu; which is none that ONNX has"),
        ({"activations": ["Affine"]}, "the activation Affine without its activation_alpha; for which ONNX has no"),
        ({"activations": ["ScaledTanh"], "activation_alpha": [1.0]}, "without its activation_beta"),
        ({"activations": ["ThresholdedRelu"]}, "without its activation_alpha"),
        ({"activations": ["ThresholdedRelu"], "activation_alpha": [-0.5]}, "ThresholdedRelu below 0"),
        ({"activations": ["Elu"], "activation_alpha": [float("nan")]}, "states activation_alpha nan"),
        ({"activations": ["Tanh", "Tanh"]}, "states 2 activations, where RNN with its directions has 1"),
        ({"clip": -1.0}, "states clip -1; wanted a number above 0"),
        ({"clip": float("inf")}, "states clip inf"),
        ({"layout": 2}, "states layout 2; known are 0 and 1"),
        ({"linear_before_reset": 1}, "states linear_before_reset, no attribute of RNN"),
        (
            {"hidden_size": 5},
            r"W of rnn has the shape \(1, 4, 3\), wanted \(1, 5, 3\) of 1 direction and hidden_size 5",
        ),
        ({"direction": "bidirectional"}, r"has the shape \(1, 4, 3\), wanted \(2, 4, 3\) of 2 directions"),
        ({"inputs": ["X", "W", ""]}, "rnn has no R; the file contradicts itself"),
        ({"inputs": ["X", "W", "R", "W"]}, r"B of rnn has the shape \(1, 4, 3\), wanted \(1, 8\)"),
        ({"inputs": ["X", "X", "R"]}, "W of rnn, X, is an input of the graph: the file does not hold it; export"),
        ({"inputs": ["X", "gone", "R"]}, "W of rnn, gone, is in no place of the graph"),
        ({"inputs": ["X", "W", "Y"]}, "R of rnn, Y, is computed by RNN"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(attributes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=words) as caught:
        reading(recurrent(weights(), **attributes), tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_of_no_elements_and_no_floats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"W of rnn has the shape \(1, 4, 0\)"):
        reading(recurrent(weights(I=0)), tmp_path)
    arrays = weights() | {"W": np.ones((1, 4, 3), np.int8)}
    with pytest.raises(UnsupportedError, match="W of rnn holds int8; wanted floating-point numbers"):
        reading(recurrent(arrays), tmp_path)


@pytest.mark.parametrize(
    ("inputs", "before", "said"),
    [
        (["X", "W", "R", "B", "lens"], [], "not its own sequence_lens, the input lens"),
        (["X", "W", "R", "B", "", "h"], [], "not from its initial_h, the input h"),
        (["X", "W", "R", "B", "", "zeros"], [], ""),
        (["X", "W", "R", "B", "", "ones"], [], "not from its initial_h, the constant ones"),
        (["X", "W", "R", "B", "", "h"], [node("Expand", ["zeros", "shape"], ["h"])], ""),
        (["X", "W", "R", "B", "", "h"], [node("Expand", ["ones", "shape"], ["h"])], "computed by Expand"),
        (["X", "W", "R", "B", "", "h"], [node("ConstantOfShape", ["shape"], ["h"])], ""),
        (
            ["X", "W", "R", "B", "", "h"],
            [node("ConstantOfShape", ["shape"], ["h"], value=tensor("", np.ones(1, np.float32)))],
            "computed by ConstantOfShape",
        ),
        (["X", "W", "R", "B", "", "h"], [node("Concat", ["zeros", "zeros"], ["h"], axis=1)], ""),
        (["X", "W", "R", "B", "", "h"], [node("Identity", ["h"], ["h"])], "computed by Identity"),
        (["X", "W", "R", "B", "", "h"], [node("Slice", ["lens", "shape"], ["h"])], "made from the input lens"),
        (
            ["X", "W", "R", "B", "", "h"],
            [node("GRU", ["X", "zeros", "zeros"], ["", "last"], "enc"), node("Identity", ["last"], ["h"])],
            "the states of enc",
        ),
    ],
)
def test_what_the_comparison_leaves_out_is_assumed_aloud(
    inputs: list[str], before: list[bytes], said: str, tmp_path: Path
) -> None:
    one = node("RNN", inputs, ["Y"], "rnn")
    states = {
        "zeros": np.zeros((1, 2, 4), np.float32),
        "ones": np.ones((1, 2, 4), np.float32),
        "shape": np.ones(3, int),
    }
    constants = [tensor(name, array) for name, array in (weights() | states).items()]
    fed = [value("X"), value("lens", dtype=6), *([value("h")] if not before else [])]
    assumptions = reading(model(graph([*before, one], constants, fed)), tmp_path, "rnn").assumptions
    assert len(assumptions) == bool(said) and said in "".join(assumptions)


def test_a_node_without_a_name_is_called_by_its_output(tmp_path: Path) -> None:
    assert reading(recurrent(weights(), name=""), tmp_path).part == "Y"
    assert reading(recurrent(weights(), name="", outputs=["", "last"]), tmp_path).part == "last"


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Gemm", ["X", "W"], ["Y"])], "has no RNN, GRU or LSTM node; its operations are Gemm; give"),
        ([], "its operations are none"),
        (
            [node("Gemm", ["X", "W"], ["Z"]), node("Tanh", ["Z"], ["Y"])],
            r"if it is recurrent, its steps are written out \(1 activations\); keep a layer one operator",
        ),
        ([node("Loop", ["X"], ["Y"])], "but a Loop over steps written out"),
        (
            [node("DynamicQuantizeLSTM", ["X"], ["Y"], domain="com.microsoft")],
            "has DynamicQuantizeLSTM, which is quant",
        ),
        ([node("RNN", ["X"], ["Y"], domain="mine")], "its operations are RNN"),
        (
            [node(op, ["X"], [f"{op}{k}"]) for k in range(9) for op in ("MatMul", "Tanh")],
            r"its steps are written out one by one, 9 activations in all; keep a layer .*dynamo=False",
        ),
    ],
)
def test_a_graph_without_recurrent_nodes_says_what_it_has(nodes: list[bytes], words: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=words):
        reading(model(graph(nodes)), tmp_path)


def test_another_form_is_not_read_as_onnx(fixtures: Path) -> None:
    with pytest.raises(UnsupportedError, match="is a PyTorch zip, no ONNX model; leave the prefix onnx: out"):
        read(open_model(fixtures / "rnn.pt"), None)


def test_several_parts_have_to_be_chosen(tmp_path: Path) -> None:
    arrays = weights(prefix="a.") | weights(prefix="b.", seed=1)
    nodes = [node("RNN", ["X", f"{k}.W", f"{k}.R", f"{k}.B"], [f"{k}.Y"], k) for k in "ab"]
    data = model(graph(nodes, [tensor(name, array) for name, array in arrays.items()], [value("X")]))
    with pytest.raises(SelectorError, match=r"holds 2 recurrent parts; choose one: \S*model.onnx#a, \S*model.onnx#b"):
        reading(data, tmp_path)
    with pytest.raises(SelectorError, match="has no recurrent node c; choose one"):
        reading(data, tmp_path, "c")
    found = reading(data, tmp_path, "b")
    np.testing.assert_array_equal(found.network.layers[0].directions[0].kernel[0], arrays["b.W"][0].T)
    assert found.unused["a.W"] == "belongs to the node a, not selected"
    with pytest.raises(FileError, match="b reads 3 features, but a gives 4; stack nodes from the input up"):
        reading(data, tmp_path, "a+b")
    with pytest.raises(SelectorError, match="the node a is named twice"):
        reading(data, tmp_path, "a+a")


def test_the_reference_agrees_with_the_formula(tmp_path: Path) -> None:
    arrays = weights(D=2)
    found = reading(recurrent(arrays, direction="bidirectional", clip=0.5, activations=["Relu", "Relu"]), tmp_path)
    x = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
    y = reference.run(found.network, [Batch(ZERO, x)]).runs[ZERO].y
    for d in range(2):
        h = np.zeros((2, 4))
        for t in reversed(range(5)) if d else range(5):
            z = x[:, t] @ arrays["W"][d].T.astype(float) + h @ arrays["R"][d].T + arrays["B"][d].reshape(2, 4).sum(0)
            h = np.maximum(np.clip(z, -0.5, 0.5), 0)
            np.testing.assert_allclose(y[:, t, 4 * d : 4 * d + 4], h, atol=1e-6)


def blocks(array: Array, letters: str) -> dict[str, Array]:
    """The rows of each gate, as ONNX stacks them, by its letter there."""
    return dict(zip(letters, np.split(array, len(letters)), strict=True))


def test_the_gates_of_a_gru(tmp_path: Path) -> None:
    arrays = weights(op="GRU")
    found = reading(recurrent(arrays, op="GRU"), tmp_path)
    (layer,) = found.network.layers
    assert (layer.cell, layer.activation, layer.gating) == ("gru", "tanh", Gating(reset_after=False))
    W, R = (blocks(arrays[name][0], "zrh") for name in "WR")
    biases = [blocks(half, "zrh") for half in np.split(arrays["B"][0], 2)]
    (direction,) = layer.directions
    for g, letter in enumerate("rzh"):  # n is ONNX's h
        np.testing.assert_array_equal(direction.kernel[g], W[letter].T)
        np.testing.assert_array_equal(direction.recurrent_kernel[g], R[letter].T)
        np.testing.assert_array_equal(direction.bias_input[g], biases[0][letter])
        np.testing.assert_array_equal(direction.bias_recurrent[g], biases[1][letter])
    found = reading(recurrent(arrays, op="GRU", linear_before_reset=1, clip=2.0), tmp_path)
    (layer,) = found.network.layers
    assert layer.activation == "clip(2)tanh" and layer.gating == Gating("clip(2)sigmoid", reset_after=True)


def lstm(**attributes: Any) -> tuple[dict[str, Array], bytes]:
    arrays = weights(op="LSTM") | {"P": np.arange(12, dtype=np.float32).reshape(1, 12)}
    return arrays, recurrent(arrays, op="LSTM", inputs=["X", "W", "R", "B", "", "", "", "P"], **attributes)


def test_the_gates_of_an_lstm(tmp_path: Path) -> None:
    arrays, data = lstm()
    found = reading(data, tmp_path)
    (layer,) = found.network.layers
    assert (layer.cell, layer.activation, layer.gating) == ("lstm", "tanh", Gating())
    W, R = (blocks(arrays[name][0], "iofc") for name in "WR")
    P = blocks(arrays["P"][0], "iof")
    (direction,) = layer.directions
    for g, letter in enumerate("ifco"):  # g is ONNX's c
        np.testing.assert_array_equal(direction.kernel[g], W[letter].T)
        np.testing.assert_array_equal(direction.recurrent_kernel[g], R[letter].T)
    assert direction.peephole is not None
    for g, letter in enumerate("ifo"):
        np.testing.assert_array_equal(direction.peephole[g], P[letter])
    assert found.roles["P"] == "layer 0 peepholes, gates i, o, f"
    stated = ["HardSigmoid", "Relu", "Softsign"]
    (layer,) = reading(lstm(activations=stated, clip=3.0)[1], tmp_path).network.layers
    assert layer.activation == "clip(3)relu"
    assert layer.gating == Gating("clip(3)keras2_hard_sigmoid", "softsign")


def test_coupled_gates_are_one_gate_with_its_weights_negated(tmp_path: Path) -> None:
    found = reading(lstm(input_forget=1)[1], tmp_path)
    (direction,) = found.network.layers[0].directions
    for name, array in direction.tensors():
        np.testing.assert_array_equal(array[1], -array[0], err_msg=name)
    assert found.notes == (
        "rnn states input_forget: its forget gate is 1 - its input gate, and its weights are not used",
    )
    half = {"activations": ["HardSigmoid", "Tanh", "Tanh"], "activation_alpha": [0.3]}
    reading(lstm(input_forget=1, **half)[1], tmp_path)
    for gate in ({"activations": ["Relu", "Tanh", "Tanh"]}, half | {"activation_beta": [0.4]}):
        with pytest.raises(UnsupportedError, match=r"rnn states input_forget with .*where 1 - f\(x\) is not f\(-x\)"):
            reading(lstm(input_forget=1, **gate)[1], tmp_path)


def test_inputs_that_an_operator_does_not_have_are_refused(tmp_path: Path) -> None:
    arrays = weights(op="GRU") | {"P": np.ones((1, 12), np.float32)}
    with pytest.raises(UnsupportedError, match="rnn has 8 inputs, where GRU has 6 at most"):
        reading(recurrent(arrays, op="GRU", inputs=["X", "W", "R", "B", "", "", "", "P"]), tmp_path)
    with pytest.raises(UnsupportedError, match="states input_forget, no attribute of GRU"):
        reading(recurrent(arrays, op="GRU", input_forget=1), tmp_path)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("perm", chunk(8, b"\x80")),
        ("activations", chunk(9, b"Tanh") + chunk(9, b"\xff")),
        ("activation_alpha", chunk(7, b"1")),
        ("direction", chunk(4, b"\xff")),
        ("axes", chunk(8, b"\x80")),
    ],
)
def test_damaged_attributes_are_one_sentence(name: str, damage: bytes, tmp_path: Path) -> None:
    broken = chunk(5, chunk(1, name.encode()) + damage)
    joint = {"perm": "Transpose", "axes": "Squeeze"}.get(name, "")
    lower, upper = (node("RNN", [x, "W", "R", "B"], [y], y) for x, y in (("X", "Y"), ("Z", "last")))
    nodes = [lower, node(joint, ["Y"], ["Z"]) + broken, upper] if joint else [lower + broken]
    constants = [tensor(key, array) for key, array in weights(I=4).items()]
    with pytest.raises(FileError, match=r"a damaged ONNX graph: |states 2 activations") as caught:
        reading(model(graph(nodes, constants, [value("X")])), tmp_path)
    assert "\n" not in str(caught.value)
