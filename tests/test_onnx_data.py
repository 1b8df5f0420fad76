"""ONNX's test data beside a model, as a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_files import graph, model, node, tensor, value, weights

import rnnverify
from rnnverify import reference
from rnnverify.canonical import Array
from rnnverify.errors import FileError, OptionError, UnsupportedError
from rnnverify.onnx_data import load_test_data
from rnnverify.sides import is_test_data, open_side, parse
from rnnverify.trace import FROM_H0, LENGTHS, ZERO, Batch, Trace

X = np.random.default_rng(7).normal(size=(2, 5, 3)).astype(np.float32)  # (B, T, I)
H0 = np.random.default_rng(8).normal(size=(2, 4)).astype(np.float32)
ONE = tensor("one", np.array([1]))


def record(folder: Path, data: bytes, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Path:
    """A model with one set of test data; the path of that."""
    (folder / "model.onnx").write_bytes(data)
    path = folder / "test_data_set_0"
    path.mkdir()
    for kind, arrays in (("input", inputs), ("output", outputs)):
        for k, (name, array) in enumerate(arrays.items()):
            (path / f"{kind}_{k}.pb").write_bytes(tensor(name, array))
    return path


def built(
    *extra: bytes,
    op: str = "RNN",
    inputs: Sequence[str] = ("X", "W", "R", "B"),
    fed: Sequence[str] = ("X",),
    given: Sequence[str] = ("Y", "Y_h"),
    D: int = 1,
    **attributes: Any,
) -> bytes:
    one = node(op, inputs, ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2], "rnn", **attributes)
    constants = [tensor(name, array) for name, array in weights(op=op, D=D).items()]
    shape = tensor("shape", np.array([0, 0, -1]))
    return model(graph([*extra, one], [*constants, ONE, shape], [value(n) for n in fed], [value(n) for n in given]))


def computed(data: bytes, folder: Path, h0: Array | None = None, c0: Array | None = None) -> Trace:
    """What the model computes of X."""
    path = folder / "reference.onnx"
    path.write_bytes(data)
    side = open_side(parse(str(path), "A"))
    path.unlink()
    assert side.network is not None
    states = None if h0 is None else (h0,)
    return reference.run(side.network, [Batch(FROM_H0 if states else ZERO, X, states, None if c0 is None else (c0,))])


def test_the_outputs_of_a_node(tmp_path: Path) -> None:
    data = built()
    (run,) = computed(data, tmp_path).runs.values()
    outputs = {"Y": run.y.swapaxes(0, 1)[:, None].astype(np.float32), "Y_h": run.h_n[0][None].astype(np.float32)}
    path = record(tmp_path, data, {"X": X.swapaxes(0, 1)}, outputs)
    found = load_test_data(path)
    np.testing.assert_array_equal(found.runs[ZERO].batch.x, X)
    np.testing.assert_allclose(found.runs[ZERO].y, run.y, atol=1e-6)
    np.testing.assert_allclose(found.runs[ZERO].h_n[0], run.h_n[0], atol=1e-6)
    assert found.not_compared == ()
    result = rnnverify.compare(path, tmp_path / "model.onnx")
    assert result.verdict == "EQUIVALENT" and result.sides[0].form == "ONNX test data"
    assert result.sides[0].writer == "recorded from onnx, model.onnx"


def test_states_that_were_fed(tmp_path: Path) -> None:
    inputs, c0 = ("X", "W", "R", "B", "", "h", "c"), H0[::-1]
    data = built(op="LSTM", inputs=inputs, fed=("X", "h", "c"), given=("Y", "Y_h", "Y_c"))
    (run,) = computed(data, tmp_path, H0, c0).runs.values()
    outputs = {"Y": run.y.swapaxes(0, 1)[:, None], "Y_h": run.h_n[0][None], "Y_c": run.c_n[0][None]}
    path = record(tmp_path, data, {"X": X.swapaxes(0, 1), "h": H0[None], "c": c0[None]}, outputs)
    found = load_test_data(path).runs[FROM_H0]
    assert found.batch.h0 is not None and found.batch.c0 is not None
    np.testing.assert_array_equal(found.batch.h0[0], H0)
    np.testing.assert_array_equal(found.batch.c0[0], c0)
    np.testing.assert_array_equal(found.c_n[0], run.c_n[0])


def test_zeros_that_were_fed_are_no_states(tmp_path: Path) -> None:
    data = built(inputs=("X", "W", "R", "B", "", "h"), fed=("X", "h"))
    inputs = {"X": X.swapaxes(0, 1), "h": np.zeros((1, 2, 4), np.float32)}
    path = record(tmp_path, data, inputs, {"Y": np.ones((5, 1, 2, 4), np.float32)})
    assert set(load_test_data(path).runs) == {ZERO}


@pytest.mark.parametrize("names", [("X", "y"), ("", "")])
def test_outputs_in_the_form_that_exporters_give_them(names: tuple[str, str], tmp_path: Path) -> None:
    """Batch first at both ends, both directions side by side; told by name, or by number."""
    before = node("Transpose", ["X0"], ["X"], perm=[1, 0, 2])
    behind = [node("Transpose", ["Y"], ["T"], perm=[2, 0, 1, 3]), node("Reshape", ["T", "shape"], ["y"])]
    data = built(before, *behind, D=2, direction="bidirectional", fed=("X0",), given=("y",))
    y = np.arange(2 * 5 * 8, dtype=np.float32).reshape(2, 5, 8)
    found = load_test_data(record(tmp_path, data, {names[0] and "X0": X}, {names[1]: y}))
    np.testing.assert_array_equal(found.runs[ZERO].batch.x, X)
    np.testing.assert_array_equal(found.runs[ZERO].y, y)


def test_both_directions_beside_each_other(tmp_path: Path) -> None:
    y = np.random.default_rng(1).normal(size=(5, 2, 2, 4)).astype(np.float32)  # (T, D, B, H)
    data = built(D=2, direction="bidirectional")
    found = load_test_data(record(tmp_path, data, {"X": X.swapaxes(0, 1)}, {"Y": y, "Y_h": np.zeros((2, 2, 4))}))
    np.testing.assert_array_equal(found.runs[ZERO].y[:, :, :4], y[:, 0].swapaxes(0, 1))
    np.testing.assert_array_equal(found.runs[ZERO].y[:, :, 4:], y[:, 1].swapaxes(0, 1))
    assert len(found.runs[ZERO].h_n) == 2


def test_a_batch_first_node(tmp_path: Path) -> None:
    y = np.random.default_rng(1).normal(size=(2, 5, 1, 4)).astype(np.float32)  # (B, T, D, H)
    outputs = {"Y": y, "Y_h": y[:, -1]}
    found = load_test_data(record(tmp_path, built(layout=1), {"X": X}, outputs)).runs[ZERO]
    np.testing.assert_array_equal(found.batch.x, X)
    np.testing.assert_array_equal(found.y, y[:, :, 0])
    np.testing.assert_array_equal(found.h_n[0], y[:, -1, 0])


Y = {"Y": np.ones((5, 1, 2, 4), np.float32)}
X_FED = {"X": X.swapaxes(0, 1)}


@pytest.mark.parametrize(
    ("built_with", "inputs", "outputs", "words"),
    [
        (
            {},
            X_FED,
            {"Y_h": np.ones((1, 2, 4), np.float32)},
            "holds no outputs of every step of rnn; make its Y an output",
        ),
        (
            {"extra": node("Gather", ["E", "X0"], ["X"]), "fed": ("X0",)},
            {"X0": X},
            Y,
            "reads what Gather gives; record",
        ),
        ({}, {"X": X[0]}, Y, r"X has the shape \(5, 3\); wanted three axes"),
        (
            {},
            {**X_FED, "other": X, "third": X},
            Y,
            "input_1.pb: is input 1, and the model has 1; give the data of this",
        ),
        ({"inputs": ("X", "W", "R", "B", "", "W")}, X_FED, Y, "starts rnn from states that W"),
        (
            {"inputs": ("X", "W", "R", "B", "lens"), "fed": ("X", "lens")},
            {**X_FED, "lens": np.array([5, 6], np.int32)},
            Y,
            "has lengths of shape .*; wanted whole numbers from 1 to 5",
        ),
        (
            {"inputs": ("X", "W", "R", "B", "lens", "h"), "fed": ("X", "lens", "h")},
            {**X_FED, "lens": np.array([5, 3], np.int32), "h": H0[None]},
            Y,
            "has sequences of different length, and initial states",
        ),
        ({}, {"X": X}, Y, "has 5 sequences of 2 steps, y 2 of 5"),
        ({}, {"X": X_FED["X"].astype(np.int32)}, Y, "x has shape .* and dtype int32"),
    ],
)
def test_what_is_no_recording_of_the_model_is_refused(
    built_with: dict[str, Any], inputs: dict[str, Array], outputs: dict[str, Array], words: str, tmp_path: Path
) -> None:
    extra = [built_with.pop("extra")] if "extra" in built_with else []
    path = record(tmp_path, built(*extra, **built_with), inputs, outputs)
    with pytest.raises(FileError, match=words) as caught:
        load_test_data(path)
    assert "\n" not in str(caught.value)


def test_sequences_of_full_length_are_read(tmp_path: Path) -> None:
    data = built(inputs=("X", "W", "R", "B", "lens"), fed=("X", "lens"))
    found = load_test_data(record(tmp_path, data, {**X_FED, "lens": np.array([5, 5], np.int32)}, Y))
    assert found.not_compared == ()


def test_the_model_has_to_be_there(tmp_path: Path) -> None:
    path = record(tmp_path, built(), X_FED, Y)
    assert is_test_data(path) and not is_test_data(tmp_path) and not is_test_data(Path("\0"))
    (tmp_path / "model.onnx").rename(tmp_path / "a.onnx")
    assert load_test_data(path).runs
    (tmp_path / "b.onnx").write_bytes(built())
    with pytest.raises(FileError, match="has 2 models in the folder above it"):
        load_test_data(path)
    for name in "ab":
        (tmp_path / f"{name}.onnx").unlink()
    with pytest.raises(FileError, match=r"has no models in the folder above it, .*; put its model.onnx there"):
        load_test_data(path)


def test_damaged_tensors_and_selectors(tmp_path: Path) -> None:
    path = record(tmp_path, built(), X_FED, Y)
    with pytest.raises(OptionError, match="a trace has neither a framework prefix nor a selector"):
        open_side(parse(f"{path}#rnn", "A"))
    (path / "output_0.pb").write_bytes(b"\xff")
    with pytest.raises(FileError, match=r"output_0.pb: is no intact tensor"):
        open_side(parse(str(path), "A"))


def test_states_of_some_nodes_only_are_refused(tmp_path: Path) -> None:
    arrays = weights(prefix="a.") | weights(I=4, prefix="b.")
    nodes = [
        node("RNN", ["X", "a.W", "a.R", "a.B", "", "h"], ["A"], "a"),
        node("Squeeze", ["A", "one"], ["S"]),
        node("RNN", ["S", "b.W", "b.R", "b.B"], ["Y"], "b"),
    ]
    constants = [tensor(name, array) for name, array in arrays.items()]
    data = model(graph(nodes, [*constants, ONE], [value("X"), value("h")], [value("Y")]))
    with pytest.raises(UnsupportedError, match="has initial states for some nodes only"):
        load_test_data(record(tmp_path, data, {**X_FED, "h": H0[None]}, Y))


def test_sequences_of_different_length(tmp_path: Path) -> None:
    data = built(inputs=("X", "W", "R", "B", "lens"), fed=("X", "lens"))
    (run,) = computed(data, tmp_path).runs.values()
    y = run.y.astype(np.float32)
    y[1, 3:] = 0
    finals = np.stack([y[0, 4], y[1, 2]])[None]
    inputs = {**X_FED, "lens": np.array([5, 3], np.int32)}
    path = record(tmp_path, data, inputs, {"Y": y.swapaxes(0, 1)[:, None], "Y_h": finals})
    found = load_test_data(path).runs[LENGTHS]
    assert found.batch.lengths is not None and found.batch.lengths.tolist() == [5, 3]
    assert rnnverify.compare(path, tmp_path / "model.onnx").verdict == "EQUIVALENT"
