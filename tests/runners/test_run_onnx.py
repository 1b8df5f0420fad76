"""What onnxruntime makes of the file's own nodes, against the float64 reference of what was read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_files import external, graph, model, node, recurrent, tensor, value, weights
from tf_files import chunk, number

import rnnverify
from rnnverify import lengths, reference, rounding
from rnnverify.canonical import Array, Network
from rnnverify.containers import open_model
from rnnverify.errors import OptionError, RunnerError, SelectorError
from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.options import Options
from rnnverify.runner_process import Limits
from rnnverify.sides import open_side, parse
from rnnverify.trace import FROM_H0, LENGTHS, ZERO, Batch


def batches(network: Network, T: int = 6) -> tuple[Batch, ...]:
    """float32 sequences from zero and from random initial states."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, T, network.input_size)).astype(np.float32)
    ways = [(layer.cell, direction.hidden_size) for _, layer, direction in network.directions()]
    h0 = tuple(rng.normal(size=(2, size)).astype(np.float32) for _, size in ways)
    c0 = tuple(rng.normal(size=(2, size)).astype(np.float32) for cell, size in ways if cell == "lstm")
    return Batch(ZERO, x), Batch(FROM_H0, x, h0, c0 or None)


def run(path: Path, selector: str = "", T: int = 6) -> dict[str, Any]:
    """Run `path` and hold every state that was recorded against the steps that its weights prescribe."""
    side = open_side(parse(f"{path}#{selector}" if selector else str(path), "A"))
    assert side.reading and side.contents and side.network
    network = side.network
    given = batches(network, T)
    job = Job("A", str(path), side.contents.path, side.reading, given)
    with Runners(Limits()) as runners:
        runners.submit([job])
        trace, result = runners.collect(job)
        expected = reference.run(network, given)
        for name, found in trace.runs.items():
            wanted = expected.runs[name]
            assert np.abs(found.y - wanted.y).max() < 1e-5
            for ours, theirs in ((found.h_n, wanted.h_n), (found.c_n, wanted.c_n)):
                assert [state.shape for state in ours] == [state.shape for state in theirs]
                assert all(np.abs(a - b).max() < 1e-5 for a, b in zip(ours, theirs, strict=True))
        budget = rounding.check(network, list(trace.runs.values()), "float32")
        assert budget is not None and budget.holds
    return dict(result)


def written(data: bytes, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(data)
    return path


def stacked(*, both: bool, join: Sequence[bytes], opset: int = 14) -> bytes:
    """Two nodes, of which `join` leads from the output Y of the lower one to the input Z of the upper one."""
    D = 1 + both
    arrays = weights(D=D, prefix="a.") | weights(I=4 * D, D=D, prefix="b.", seed=1)
    way = {"direction": "bidirectional"} if both else {}
    lower = node("RNN", ["X", "a.W", "a.R", "a.B"], ["Y"], "a", **way)
    upper = node("RNN", ["Z", "b.W", "b.R", "b.B"], ["", "last"], "b", **way)
    constants = [tensor(name, array) for name, array in arrays.items()] + [tensor("one", np.array([1]))]
    constants += [tensor("shape", np.array([0, 0, -1]))]
    return model(graph([lower, *join, upper], constants, [value("X")], [value("last")]), opset)


SQUEEZED = [node("Squeeze", ["Y", "one"], ["Z"])]
SQUEEZED_OLD = [node("Squeeze", ["Y"], ["Z"], axes=[1])]
RESHAPED = [node("Transpose", ["Y"], ["T"], perm=[0, 2, 1, 3]), node("Reshape", ["T", "shape"], ["Z"])]
PASSED = [node("Identity", ["Y"], ["I"]), node("Dropout", ["I"], ["D"]), node("Squeeze", ["D", "one"], ["Z"])]


@pytest.mark.parametrize(
    ("both", "join", "opset"),
    [(False, SQUEEZED, 14), (False, SQUEEZED_OLD, 9), (True, RESHAPED, 14), (False, PASSED, 22), (False, RESHAPED, 13)],
)
def test_a_stack_is_run_through_the_nodes_of_the_file(
    both: bool, join: list[bytes], opset: int, tmp_path: Path
) -> None:
    path = written(stacked(both=both, join=join, opset=opset), tmp_path)
    side = open_side(parse(str(path), "A"))
    assert (
        side.reading
        and side.reading.part == "a+b"
        and [x["joined"] for x in side.reading.recipe.layers] == [False, True]
    )
    assert run(path)["loaded"] == "onnx.load"


def test_a_stack_that_the_user_names_is_run_one_after_the_other(tmp_path: Path) -> None:
    between = [node("Squeeze", ["Y", "one"], ["S"]), node("Tanh", ["S"], ["Z"])]
    path = written(stacked(both=False, join=between), tmp_path)
    run(path, "a+b")
    side = open_side(parse(f"{path}#a+b", "A"))
    assert side.reading is not None
    assert side.reading.assumptions == (
        "a, then b: each reads the outputs of the one before, as selected; the graph has other operations between",
    )


def pair(join: str, *, reverse_first: bool = False) -> bytes:
    """A forward and a backward node over one input, as CNTK and converters from Keras write a Bidirectional."""
    arrays = weights(prefix="fw.") | weights(prefix="bw.", seed=1)
    ways = {"fw": "forward", "bw": "reverse"}
    nodes = [node("RNN", ["X", f"{k}.W", f"{k}.R", f"{k}.B"], [f"{k}.Y"], k, direction=way) for k, way in ways.items()][
        :: -1 if reverse_first else 1
    ]
    nodes += [node("Squeeze", [f"{k}.Y", "one"], [f"{k}.S"]) for k in ways]
    axis: dict[str, Any] = {"axis": 2} if join == "Concat" else {}
    nodes.append(node(join, ["fw.S", "bw.S"], ["Z"], **axis))
    constants = [tensor(name, array) for name, array in arrays.items()] + [tensor("one", np.array([1]))]
    return model(graph(nodes, constants, [value("X")], [value("Z")]))


@pytest.mark.parametrize(("join", "merge"), [("Concat", "concat"), ("Add", "sum"), ("Mul", "mul")])
@pytest.mark.parametrize("T", [6, 1100])
def test_two_nodes_are_the_directions_of_one_layer(join: str, merge: str, T: int, tmp_path: Path) -> None:
    path = written(pair(join, reverse_first=True), tmp_path)
    side = open_side(parse(str(path), "A"))
    assert side.reading and side.reading.part == "fw,bw" and side.reading.network.layers[0].merge == merge
    run(path, T=T)
    run(path, "bw", T=T)


HALVES = {
    "slices": [node("Slice", ["Y", f"{k}", f"{k + 1}", "1"], [f"half {k}"]) for k in (0, 1)],
    "old slices": [node("Slice", ["Y"], [f"half {k}"], axes=[1], starts=[k], ends=[k + 1]) for k in (0, 1)],
    "split": [node("Split", ["Y"], ["half 0", "half 1"], axis=1)],
    "gather": [node("Gather", ["Y", f"{k}"], [f"half {k}"], axis=1) for k in (0, 1)],
}


@pytest.mark.parametrize(
    ("cut", "join", "merge"),
    [
        ("slices", "Concat", "concat"),
        ("old slices", "Add", "sum"),
        ("split", "Mul", "mul"),
        ("gather", "Concat", "concat"),
    ],
)
def test_a_node_that_is_cut_apart_and_joined_again(cut: str, join: str, merge: str, tmp_path: Path) -> None:
    """Its two directions, as converters from Keras write them, below another node."""
    width = 8 if join == "Concat" else 4
    arrays = weights(D=2, prefix="a.") | weights(I=width, prefix="b.", seed=1)
    nodes = [node("RNN", ["X", "a.W", "a.R", "a.B"], ["Y"], "a", direction="bidirectional"), *HALVES[cut]]
    old = cut == "old slices"
    squeezed: dict[str, Any] = {"axes": [1]} if old else {}
    joined: dict[str, Any] = {"axis": 2} if join == "Concat" else {}
    for k in (0, 1):
        read = [f"half {k}"] if old else [f"half {k}", "1"]
        nodes.append(node("Squeeze", read, [f"end {k}"], **squeezed))
    nodes.append(node(join, ["end 0", "end 1"], ["Z"], **joined))
    nodes.append(node("RNN", ["Z", "b.W", "b.R", "b.B"], ["last"], "b"))
    constants = [tensor(name, array) for name, array in arrays.items()]
    constants += [tensor(str(k), np.array([k])) for k in range(3)]
    path = written(model(graph(nodes, constants, [value("X")], [value("last")]), 9 if old else 13), tmp_path)
    side = open_side(parse(str(path), "A"))
    assert side.reading and side.reading.part == "a+b"
    assert side.reading.network.layers[0].merge == merge
    run(path)
    run(path, "a")


@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("T", [6, 300, 1100])
def test_both_directions_of_one_node(op: str, T: int, tmp_path: Path) -> None:
    run(written(recurrent(weights(D=2, op=op), op=op, direction="bidirectional"), tmp_path), T=T)


@pytest.mark.parametrize(
    "attributes",
    [
        {"activations": ["Relu"]},
        {"activations": ["Sigmoid"], "clip": 0.3},
        {"activations": ["Softsign"]},
        {"activations": ["Softplus"]},
        {"activations": ["LeakyRelu"]},
        {"activations": ["LeakyRelu"], "activation_alpha": [-0.3]},
        {"activations": ["HardSigmoid"]},
        {"activations": ["HardSigmoid"], "activation_alpha": [-0.3], "activation_beta": [0.4]},
        {"activations": ["Elu"], "activation_alpha": [0.7]},
        {"activations": ["Elu"]},
        {"activations": ["Affine"], "activation_alpha": [-0.5], "activation_beta": [0.25], "clip": 2.0},
        {"activations": ["ScaledTanh"], "activation_alpha": [1.5], "activation_beta": [-0.7]},
        {"activations": ["ThresholdedRelu"], "activation_alpha": [0.2]},
        {"activations": ["Tanh"], "clip": 0.5, "direction": "reverse"},
    ],
)
def test_activations_are_what_onnxruntime_makes_of_them(attributes: dict[str, Any], tmp_path: Path) -> None:
    run(written(recurrent(weights(), **attributes), tmp_path))


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"linear_before_reset": 1},
        {"linear_before_reset": 1, "clip": 0.5, "direction": "reverse"},
        {"clip": 0.5, "activations": ["HardSigmoid", "Relu"]},
        {"activations": ["Sigmoid", "LeakyRelu"], "activation_alpha": [0.3], "linear_before_reset": 1},
        {"activations": ["HardSigmoid", "Softsign"], "activation_alpha": [0.3], "activation_beta": [0.4]},
    ],
)
def test_gru(attributes: dict[str, Any], tmp_path: Path) -> None:
    run(written(recurrent(weights(op="GRU"), op="GRU", **attributes), tmp_path))


@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"direction": "bidirectional"},
        {"clip": 0.5, "direction": "reverse"},
        {"input_forget": 1},
        {"input_forget": 1, "activations": ["HardSigmoid", "Tanh", "Tanh"], "clip": 0.7},
        {"activations": ["HardSigmoid", "Relu", "Softsign"], "activation_alpha": [0.3], "activation_beta": [0.4]},
        {"activations": ["Sigmoid", "Elu", "ScaledTanh"], "activation_alpha": [0.5, 1.5], "activation_beta": [0.5]},
    ],
)
def test_lstm(attributes: dict[str, Any], peepholes: bool, tmp_path: Path) -> None:
    D = 2 if attributes.get("direction") == "bidirectional" else 1
    arrays = weights(op="LSTM", D=D)
    inputs = ["X", "W", "R", "B"]
    if peepholes:
        arrays["P"] = np.random.default_rng(4).normal(0, 0.5, (D, 12)).astype(np.float32)
        inputs += ["", "", "", "P"]
    run(written(recurrent(arrays, op="LSTM", inputs=inputs, **attributes), tmp_path))


@pytest.mark.parametrize("opset", [1, 3, 6])
def test_old_operator_sets_are_read_as_the_oldest_that_runs(opset: int, tmp_path: Path) -> None:
    path = written(recurrent(weights(), opset=opset, output_sequence=1), tmp_path)
    assert run(path)["loaded"] == f"onnx.load, its operator set {opset} read as 7"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_weights_are_computed_in_float32(dtype: str, tmp_path: Path) -> None:
    arrays = weights()
    bits = {
        "float16": lambda a: a.astype(np.float16),
        "bfloat16": lambda a: (a.view(np.uint32) >> 16).astype(np.uint16),
    }
    constants = [tensor(name, bits[dtype](array), dtype) for name, array in arrays.items()]
    data = model(graph([node("RNN", ["X", "W", "R", "B"], ["Y"], "rnn")], constants, [value("X")]), 22)
    assert run(written(data, tmp_path))["loaded"] == "onnx.load, its narrow floats as float32"


def test_weights_behind_operations_are_the_file_s_own(tmp_path: Path) -> None:
    arrays = weights()
    turned = arrays | {"W": arrays["W"].swapaxes(1, 2), "R": arrays["R"].astype(np.float16), "B": arrays["B"][0]}
    before = [
        node("Transpose", ["W"], ["W.t"], perm=[0, 2, 1]),
        node("Cast", ["R"], ["R.c"], to=1),
        node("Unsqueeze", ["B", "zero"], ["B.u"]),
    ]
    turned["zero"] = np.array([0])
    run(written(recurrent(turned, *before, inputs=["X", "W.t", "R.c", "B.u"]), tmp_path))


def test_quantised_weights_are_compared_as_computed(tmp_path: Path) -> None:
    arrays: dict[str, Array] = dict(weights())
    for name in ("W", "R"):
        scale = np.abs(arrays[name]).max() / 127
        arrays[f"{name}.q"] = np.round(arrays.pop(name) / scale).astype(np.int8)
        arrays[f"{name}.s"], arrays[f"{name}.z"] = np.array(scale, np.float32), np.array(3, np.int8)
    before = [node("DequantizeLinear", [f"{k}.q", f"{k}.s", f"{k}.z"], [k]) for k in ("W", "R")]
    arrays = {"I": np.zeros((1, 3), np.float32)} | arrays  # for the width of the input
    path = written(recurrent(arrays, *before), tmp_path)
    run(path)
    side = open_side(parse(str(path), "A"))
    assert side.reading and any("weights are computed from stored constants" in note for note in side.reading.notes)
    assert side.reading.network.layers[0].directions[0].rebuilt


def test_weights_in_a_file_beside_the_model(tmp_path: Path) -> None:
    arrays = weights()
    data, constants = b"", []
    for name, array in arrays.items():
        constants.append(external(name, array, location="w.bin", offset=len(data), length=array.nbytes))
        data += array.tobytes()
    (tmp_path / "w.bin").write_bytes(data)
    one = node("RNN", ["X", "W", "R", "B"], ["Y"], "rnn")
    run(written(model(graph([one], constants, [value("X")])), tmp_path))


@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("way", ["forward", "reverse", "bidirectional"])
def test_sequences_of_different_length(op: str, way: str, tmp_path: Path) -> None:
    path = written(recurrent(weights(D=1 + (way == "bidirectional"), op=op), op=op, direction=way), tmp_path)
    padded(path)


@pytest.mark.parametrize(("both", "join"), [(False, SQUEEZED), (True, RESHAPED)])
def test_stacks_of_sequences_of_different_length(both: bool, join: list[bytes], tmp_path: Path) -> None:
    padded(written(stacked(both=both, join=join), tmp_path))


def padded(path: Path) -> None:
    """Run `path` on a padded batch, and hold what came out against each sequence by itself."""
    side = open_side(parse(str(path), "A"))
    assert side.reading and side.contents and side.network
    x = np.random.default_rng(3).normal(size=(3, 7, side.network.input_size)).astype(np.float32)
    given = (Batch(LENGTHS, x, lengths=np.array([7, 3, 5])),)
    job = Job("A", str(path), side.contents.path, side.reading, given)
    with Runners(Limits()) as runners:
        runners.submit([job])
        trace, _ = runners.collect(job)
        found = lengths.cut(trace, side.network)
        expected = reference.run(side.network, lengths.cut_batches(given))
        assert len(found.runs) == 3 and found.runs.keys() == expected.runs.keys()
        for name, run in found.runs.items():
            wanted = expected.runs[name]
            for ours, theirs in zip((run.y, *run.h_n, *run.c_n), (wanted.y, *wanted.h_n, *wanted.c_n), strict=True):
                assert np.abs(ours - theirs).max() < 1e-6
        assert lengths.padding_words(trace) == "zeros"


def test_states_and_lengths_of_the_graph_are_left_out(tmp_path: Path) -> None:
    one = node("RNN", ["X", "W", "R", "B", "lens", "h"], ["Y"], "rnn")
    constants = [tensor(name, array) for name, array in weights().items()]
    inputs = [value("X"), value("lens", dtype=6), value("h")]
    path = written(model(graph([one], constants, inputs, [value("Y")])), tmp_path)
    run(path)


def test_a_model_that_needs_more_of_the_graph_is_cut_from_it(tmp_path: Path) -> None:
    """What stands before and behind the node, with inputs of its own and operations of other runtimes, is not run."""
    before = node("Mystery", ["tokens"], ["X"], domain="mine")
    behind = node("Mystery", ["Y"], ["out"], domain="mine")
    one = node("RNN", ["X", "W", "R", "B"], ["Y"], "rnn")
    constants = [tensor(name, array) for name, array in weights().items()]
    inside = graph([before, one, behind], constants, [value("tokens")], [value("out")])
    run(written(model(inside, extra=chunk(8, chunk(1, b"mine") + number(2, 1))), tmp_path))


def test_what_onnxruntime_does_not_compute_falls_to_the_reference(tmp_path: Path) -> None:
    first = written(recurrent(weights(), layout=1), tmp_path)
    second = tmp_path / "double.onnx"
    second.write_bytes(recurrent(weights(dtype="float64")))
    result = rnnverify.compare(first, second)
    assert [side.engine for side in result.sides] == ["reference", "reference"]
    assert "because onnxruntime computes layout 0 only, and rnn states 1" in result.sides[0].how
    assert "because onnxruntime computes RNN in float32 only, and the weights are float64" in result.sides[1].how
    with pytest.raises(OptionError, match=r"--engine native: .*layout 0 only"):
        rnnverify.compare(first, second, options=Options(engine="native"))
    third = tmp_path / "third.onnx"
    third.write_bytes(recurrent(weights()))
    result = rnnverify.compare(third, third, options=Options(dtype="float64"))
    assert "onnxruntime computes recurrent nodes in float32 only, not in float64" in result.sides[0].how


def test_a_model_that_onnxruntime_refuses_is_one_sentence(tmp_path: Path) -> None:
    path = written(recurrent(weights(), opset=900), tmp_path)
    with pytest.raises(RunnerError, match=r"model.onnx: its runner failed, .*(opset|Opset)") as caught:
        run(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", ["1.12.1/lstm_a_onnx", "1.6.0/gru_ra_onnx", "2.13.0/lstm_bi_onnx"])
def test_genuine_gated_files(case: str, fixtures: Path) -> None:
    run(fixtures / f"genuine/onnx-from-torch-{case}/model.onnx")


def test_genuine_files_of_two_versions_are_the_same_network(fixtures: Path) -> None:
    old, new = (fixtures / f"genuine/onnx-from-torch-{v}/rnn_a_onnx/model.onnx" for v in ("1.5.1", "2.13.0"))
    result = rnnverify.compare(old, new)
    assert result.verdict == "IDENTICAL"
    assert [side.engine for side in result.sides] == ["native", "native"]
    assert result.sides[0].versions.keys() >= {"onnx", "onnxruntime", "python", "numpy"}


def test_nodes_in_branches_run_as_those_of_the_graph(fixtures: Path) -> None:
    with pytest.raises(
        SelectorError, match=r"holds 2 recurrent parts; choose one: .*#/rnn_1/LSTM \(LSTM\), .*#/rnn/LSTM"
    ):
        rnnverify.compare(fixtures / "scripted.pt", fixtures / "scripted.onnx")
    nodes = [f"{fixtures / 'scripted.onnx'}#{name}" for name in ("/rnn/LSTM", "/rnn_1/LSTM")]
    result = rnnverify.compare(fixtures / "scripted.pt", *nodes)
    assert result.verdict == "EQUIVALENT" and [side.engine for side in result.sides] == ["native"] * 3
    assert "/rnn/LSTM stands in the else_branch of If /If, which is taken" in result.sides[1].assumptions
    assert not any("Slice" in words for side in result.sides for words in side.not_compared)


def test_a_wrong_branch_is_told(fixtures: Path, tmp_path: Path) -> None:
    data = (fixtures / "scripted.onnx").read_bytes()
    weight = open_model(fixtures / "scripted.pt").tensors["rnn.weight_hh"].read().tobytes()
    assert data.count(weight) == 1
    (tmp_path / "wrong.onnx").write_bytes(data.replace(weight, weight[16:] + weight[:16]))
    result = rnnverify.compare(fixtures / "scripted.pt", f"{tmp_path / 'wrong.onnx'}#/rnn_1/LSTM")
    assert result.verdict == "DIFFERENT"
