"""One model is run, and what it did is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rnnverify
from rnnverify.errors import OptionError
from rnnverify.inputs import InputOptions
from rnnverify.options import Options
from rnnverify.trace import FROM_H0, PROBE, ZERO
from rnnverify.trace_file import load

REFERENCE = Options(engine="reference")


def test_inputs_of_the_user(fixtures: Path) -> None:
    options = Options(engine="reference", inputs=InputOptions(file=fixtures / "inputs.npy"))
    trace = rnnverify.run(fixtures / "rnn.pt", options=options)
    x = np.load(fixtures / "inputs.npy")
    assert set(trace.runs) - {PROBE} == {ZERO} and np.array_equal(trace.runs[ZERO].batch.x, x)
    assert trace.runs[ZERO].y.shape == (3, 7, 8)
    result = rnnverify.compare(fixtures / "rnn.pt", fixtures / "simple_rnn.h5", options=options)
    assert result.verdict == "IDENTICAL"
    assert set(result.inputs["batches"]) == {ZERO, FROM_H0}


def test_a_run_kept_in_memory_has_the_states_of_every_layer(fixtures: Path) -> None:
    trace = rnnverify.run(fixtures / "stacked.keras", options=REFERENCE)
    assert [states.shape for states in trace.runs[ZERO].states] == [(8, 32, 6), (8, 32, 8)]
    assert not any(isinstance(states, np.memmap) for states in trace.runs[ZERO].states)


def test_masked_steps_of_inputs_are_left_out(fixtures: Path, tmp_path: Path) -> None:
    x = np.ones((2, 4, 5), np.float32)
    x[:, 1] = 0
    np.savez(tmp_path / "x.npz", x=x, h0=np.zeros((1, 2, 8), np.float32))
    options = Options(engine="reference", inputs=InputOptions(file=tmp_path / "x.npz"))
    trace = rnnverify.run(fixtures / "genuine/keras-2.2.4/rnn_mask_h5/model.h5", options=options)
    assert {name: run.batch.x.shape for name, run in trace.runs.items()} == {ZERO: (2, 3, 5), FROM_H0: (2, 3, 5)}


def test_a_trace_stands_for_a_model(fixtures: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    recorded = rnnverify.run(fixtures / "rnn.pt", path)
    assert recorded.provenance["engine"] == "native"
    assert set(load(path).runs) == {ZERO, FROM_H0, PROBE}
    result = rnnverify.compare(path, fixtures / "simple_rnn.keras")
    assert result.verdict == "EQUIVALENT"
    assert [side.engine for side in result.sides] == ["trace", "native"]
    wrong = rnnverify.compare(path, fixtures / "wrong" / "recurrent_transposed.pt", options=REFERENCE)
    assert wrong.verdict == "DIFFERENT"


def test_a_trace_is_not_recorded_again(fixtures: Path, tmp_path: Path) -> None:
    rnnverify.run(fixtures / "rnn.pt", tmp_path / "trace.npz", REFERENCE)
    with pytest.raises(OptionError, match="is a trace already; give a model file"):
        rnnverify.run(tmp_path / "trace.npz")
