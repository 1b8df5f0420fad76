"""ONNX files as converters write them, each against what the model that it was made of gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rnnverify
from rnnverify import lengths, reference
from rnnverify.errors import UnsupportedError
from rnnverify.inputs import InputOptions
from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.options import Options
from rnnverify.runner_process import Limits
from rnnverify.sides import Opened, open_side, parse

CONVERTED = Path(__file__).parents[1] / "fixtures" / "converted"
FILES = sorted(path.stem for path in CONVERTED.glob("*.onnx"))
WRONG = (
    "keras2onnx_rnn_backwards"  # which loses that Keras gives the outputs of go_backwards in the order of processing
)


def opened(path: Path) -> Opened:
    return open_side(parse(str(path), "A"))


def test_every_file_runs_natively_as_the_model_that_it_was_made_of() -> None:
    jobs = {}
    for name in FILES:
        side, recorded = opened(CONVERTED / f"{name}.onnx"), opened(CONVERTED / f"{name}.npz").trace
        assert side.reading and side.contents and recorded
        jobs[name] = Job(name, name, side.contents.path, side.reading, recorded.batches), recorded
    with Runners(Limits()) as runners:
        runners.submit([job for job, _ in jobs.values()])
        for name, (job, recorded) in jobs.items():
            found, theirs = (lengths.cut(t, job.reading.network) for t in (runners.collect(job)[0], recorded))
            expected = reference.run(job.reading.network, lengths.cut_batches(job.batches))
            for batch, run in found.runs.items():
                assert np.abs(run.y - expected.runs[batch].y).max() < 1e-6, name
                y = theirs.runs[batch].y[:, :: -1 if name == WRONG else 1]
                assert np.abs(run.y - y).max() < 1e-6, name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("keras_rnn", "rnn tanh"),
        ("keras_rnn_linear", "rnn linear"),
        ("keras_rnn_backwards", "rnn tanh backwards"),
        ("keras_rnn_both_ways", "rnn tanh both concat"),
        ("keras_rnn_both_ways_last", "rnn tanh both concat"),
        ("keras_rnn_stack", "rnn tanh, rnn tanh, softmax"),
        ("keras_gru_before", "gru tanh"),
        ("keras_gru_hard", "gru relu"),
        ("keras_gru_mean", "gru tanh both ave, linear"),
        ("keras_lstm_backwards_last", "lstm tanh backwards"),
        ("keras_lstm_masked", "lstm tanh"),
        ("keras_lstm_dropout", "lstm tanh"),
        ("keras_old_lstm_stack", "lstm tanh, lstm tanh, softmax"),
        ("keras2onnx_rnn_stack", "rnn tanh, rnn tanh, softmax"),
        ("keras2onnx_lstm_backwards_last", "lstm tanh backwards"),
        ("keras2onnx_rnn_backwards", "rnn tanh reverse"),
        ("frozen_rnn_lengths", "rnn tanh"),
        ("frozen_gru", "gru tanh"),
        ("frozen_lstm_both_ways_lengths", "lstm tanh both concat"),
        ("torch_lstm_stack", "lstm tanh, lstm tanh"),
        ("torch_lstm_flipped", "lstm tanh backwards"),
    ],
)
def test_what_is_read(name: str, words: str) -> None:
    reading = opened(CONVERTED / f"{name}.onnx").reading
    assert reading
    found = []
    for layer in reading.network.layers:
        ways = f" both {layer.merge}" if layer.bidirectional else ""
        if layer.directions[0].reverse:
            ways = " reverse" if layer.time_restored else " backwards"
        found.append(f"{layer.cell} {layer.activation}{ways}")
    found += [dense.activation for dense in (reading.around.head.layers if reading.around.head else ())]
    assert ", ".join(found) == words


def changed(name: str, old: bytes, new: bytes, folder: Path) -> Path:
    """A file of `converted` with the last of some bytes changed, which do not move the others."""
    data = (CONVERTED / f"{name}.onnx").read_bytes()
    assert len(old) == len(new) and old in data
    start, _, end = data.rpartition(old)
    path = folder / f"{name}.onnx"
    path.write_bytes(start + new + end)
    return path


@pytest.mark.parametrize("name", ["keras_rnn_both_ways", "keras_lstm_dropout", "frozen_gru", "frozen_lstm"])
def test_a_single_weight_of_a_loop_is_seen(name: str, tmp_path: Path) -> None:
    reading = opened(CONVERTED / f"{name}.onnx").reading
    assert reading
    value = reading.network.layers[0].directions[0].recurrent_kernel[-1, 1, 2]
    wrong = changed(name, value.tobytes(), (value * np.float32(1.001)).tobytes(), tmp_path)
    result = rnnverify.compare(
        CONVERTED / f"{name}.onnx", wrong, options=Options(inputs=InputOptions(sequences=2, steps=6))
    )
    assert result.verdict == "DIFFERENT"
    assert sum(tensor.differing for tensor in result.pairs[0].tensors) == 1


def test_a_loop_is_read_by_what_it_computes(tmp_path: Path) -> None:
    side = opened(changed("keras_rnn", b"\x22\x04Tanh", b"\x22\x04Relu", tmp_path))
    assert side.reading and side.reading.network.layers[0].activation == "relu"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("keras_rnn", b"\x22\x04Tanh", b"\x22\x04Sinh"),  # no activation of any framework
        ("frozen_gru", b"\x22\x03Sub", b"\x22\x03Add"),  # h' = z h + (1 + z) n
        ("frozen_gru", b"\x22\x07Sigmoid", b"\x22\x07Softmax"),
        ("frozen_rnn_lengths", b"\x22\x04Less", b"\x22\x04Tile"),  # what tells how long a sequence is
        ("keras_lstm_masked", b"\x22\x03Not", b"\x22\x03Neg"),
    ],
)
def test_a_loop_that_computes_something_else_is_refused(name: str, old: bytes, new: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"a (Loop|Scan) over steps") as caught:
        opened(changed(name, old, new, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_flip_before_an_lstm_is_no_part_of_weights_of_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    side = opened(CONVERTED / "torch_lstm_flipped.onnx")
    assert side.reading
    (direction,) = side.reading.network.layers[0].directions
    state = {
        "weight_ih_l0": np.concatenate([gate.T for gate in direction.kernel]),
        "weight_hh_l0": np.concatenate([gate.T for gate in direction.recurrent_kernel]),
        "bias_ih_l0": direction.bias_input.reshape(-1),
        "bias_hh_l0": direction.bias_recurrent.reshape(-1),
    }
    path = tmp_path / "lstm.pt"
    torch.save({name: torch.tensor(array) for name, array in state.items()}, path)
    options = Options(inputs=InputOptions(sequences=2, steps=6))
    result = rnnverify.compare(path, CONVERTED / "torch_lstm_flipped.onnx", options=options)
    assert result.verdict == "EQUIVALENT"
    assert any("turns the steps around" in text for text in result.sides[1].assumptions)
    trace = rnnverify.compare(CONVERTED / "torch_lstm_flipped.npz", CONVERTED / "torch_lstm_flipped.onnx")
    assert trace.verdict in ("EQUIVALENT", "INCONCLUSIVE")
