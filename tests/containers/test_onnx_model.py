"""ONNX models are taken apart, and damaged ones refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from onnx_files import graph, model, node, recurrent, tensor, value, weights
from tf_files import chunk, number

from rnnverify.containers import form_of, open_model
from rnnverify.containers.onnx_graph import OnnxGraph, is_onnx
from rnnverify.errors import FileError, UnsupportedError

GENUINE = Path(__file__).parents[2] / "fixtures" / "genuine"


def opened(data: bytes, folder: Path) -> OnnxGraph:
    path = folder / "model"
    path.write_bytes(data)
    return cast(OnnxGraph, open_model(path).metadata["graph"])


def test_a_genuine_model() -> None:
    contents = open_model(GENUINE / "onnx-from-torch-2.13.0/rnn_a_onnx/model.onnx")
    assert (contents.form, contents.framework, contents.writer) == ("ONNX", "onnx", "pytorch 2.13.0, opset 20")
    shapes = {name: tensor.shape for name, tensor in contents.tensors.items()}
    stored = {"onnx::RNN_30": (1, 8, 5), "onnx::RNN_31": (1, 8, 8), "onnx::RNN_32": (1, 16)}
    assert shapes == stored | {"/Constant_output_0": (1, 3, 8)}
    graph = cast(OnnxGraph, contents.metadata["graph"])
    assert graph.opset == 20 and graph.inputs == {"x": (9, 3, 5)} and graph.outputs == ("y", "h_n")
    (rnn,) = (node for node in graph.nodes if node.op == "RNN")
    assert rnn.texts("activations") == ["Tanh"] and rnn.integer("hidden_size", 0) == 8
    assert graph.producers[rnn.output(0)] is rnn and graph.readers["onnx::RNN_31"] == [rnn]


def test_attributes_have_defaults(tmp_path: Path) -> None:
    one = node("RNN", ["x", "", "w"], ["", "h"], clip=2.5, direction="reverse", activation_alpha=[0.5, 1.0])
    (read,) = opened(model(graph([one])), tmp_path).nodes
    assert (read.input(1), read.input(2), read.input(9), read.output(0), read.output(1)) == ("", "w", "", "", "h")
    assert read.real("clip", 0) == 2.5 and read.real("other", 1.5) == 1.5
    assert read.text("direction", "forward") == "reverse" and read.text("other", "forward") == "forward"
    assert read.reals("activation_alpha") == [0.5, 1.0] and read.reals("other") == [] and read.texts("other") == []
    assert read.integers("other") is None and read.tensor("other") is None


def test_constants_are_initializers_and_constant_nodes_but_no_inputs(tmp_path: Path) -> None:
    array = np.ones((2, 3), np.float32)
    constant = node("Constant", [], ["c"], value=tensor("", array))
    inputs = [value("x", (0, 2)), value("w", (2, 3))]  # before IR version 4 every initializer is an input too
    read = opened(model(graph([constant], [tensor("w", array), tensor("n", np.array([1, 2]))], inputs)), tmp_path)
    assert set(read.constants) == {"w", "n", "c"} and read.inputs == {"x": (-1, 2)}
    np.testing.assert_array_equal(read.constants["c"].read(), array)
    assert set(open_model(tmp_path / "model").tensors) == {"w", "c"}


def test_recurrent_operations_in_bodies_are_told(tmp_path: Path) -> None:
    inner = graph([node("LSTM", ["x"], ["y"])])
    branch = node("If", ["cond"], ["y"], "choice") + chunk(5, chunk(1, b"then_branch") + chunk(6, inner))
    function = chunk(25, chunk(1, b"cell") + chunk(7, node("GRU", ["x"], ["y"])))
    read = opened(model(graph([branch]), extra=function), tmp_path)
    assert read.hidden == (("LSTM", "the body of If choice"), ("GRU", "the function cell"))


def choice(*bodies: tuple[str, bytes], output: str = "z") -> bytes:
    said = b"".join(chunk(5, chunk(1, name.encode()) + chunk(6, body)) for name, body in bodies)
    return node("If", ["c"], [output], "choice") + said


def test_branches_lie_behind_the_graph(tmp_path: Path) -> None:
    w = tensor("w", np.ones((1, 4, 3), np.float32))
    inner = graph([node("RNN", ["x", "v", "r"], ["deep"])], [tensor("v", np.ones((1, 2, 2), np.float32))])
    yes = graph([node("LSTM", ["x", "w", "r"], ["a"]), choice(("else_branch", inner), output="b")], [w])
    no = graph([node("Identity", ["x"], ["plain"])])
    read = opened(
        model(graph([node("Abs", ["x"], ["y"]), choice(("then_branch", yes), ("else_branch", no))])), tmp_path
    )
    assert [(each.index, each.op) for each in read.nodes] == [(0, "Abs"), (1, "If"), (2, "LSTM"), (3, "If"), (4, "RNN")]
    assert read.bodies == ((1, "then_branch"), (3, "else_branch")) and not read.hidden
    assert set(read.constants) == {"w", "v"}
    assert [read.nodes[k].within for k in (1, 2, 4)] == [
        "",
        "then_branch of If choice",
        "else_branch of If choice in then_branch of If choice",
    ]


def test_a_branch_that_uses_a_name_again_stays_where_it_is(tmp_path: Path) -> None:
    body = graph([node("RNN", ["x", "w", "r"], ["a"])])
    read = opened(model(graph([choice(("then_branch", body), ("else_branch", body))])), tmp_path)
    assert read.bodies == ((0, "then_branch"),) and read.hidden == (("RNN", "the body of If choice"),)


@pytest.mark.parametrize(
    "start",
    [
        number(1, 9) + chunk(2, b"pytorch") + chunk(3, b"2.13.0") + b":\x10",
        number(1, 6) + chunk(8, number(2, 9)),
        number(1, 3) + chunk(7, b"")[:1] + b"\xff\xff\x03",
        model(graph([])),
    ],
)
def test_a_model_is_told_by_its_first_bytes(start: bytes, tmp_path: Path) -> None:
    assert is_onnx(start)
    (tmp_path / "model").write_bytes(start)
    assert form_of(tmp_path / "model") == "onnx_model"


@pytest.mark.parametrize(
    "start",
    [b"", b"\x08", b"text", number(1, 1) + chunk(2, b"\x08\x01\x12\x00"), number(2, 1), chunk(7, b"x"), b"\x00" * 64],
)
def test_others_are_not_mistaken_for_models(start: bytes) -> None:
    assert not is_onnx(start)


def test_what_the_framework_of_another_form_wrote_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.ort").write_bytes(b"\x10\0\0\0ORTM" + bytes(64))
    with pytest.raises(UnsupportedError, match="is an ONNX model in onnxruntime's own format"):
        form_of(tmp_path / "model.ort")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (recurrent(weights())[:-9], "a damaged or truncated ONNX model: field . announces"),
        (number(1, 8) + chunk(2, b"test") + chunk(8, number(2, 14)), "it has no graph"),
        (model(graph([chunk(1, b"x")])), "a node has no operation"),
        (model(graph([], [number(1, 1 << 62) + number(1, 1 << 62) + chunk(8, b"w")])), "w has the shape"),
        (model(chunk(1, b"\xff")), "a number is cut off"),
    ],
)
def test_damaged_models_are_one_sentence(data: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=words) as caught:
        opened(data, tmp_path)
    assert "\n" not in str(caught.value) and "model: " in str(caught.value)


def test_bodies_within_bodies_are_followed_so_far_only(tmp_path: Path) -> None:
    inner = graph([node("RNN", ["x"], ["y"])])
    for _ in range(200):
        inner = graph([node("If", ["c"], ["y"]) + chunk(5, chunk(1, b"then_branch") + chunk(6, inner))])
    assert opened(model(inner), tmp_path).hidden == ()
