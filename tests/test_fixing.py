"""Where a port is wrong, the file that would have been right; nothing else is ever written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import rnnverify
from rnnverify.comparison import Comparison
from rnnverify.errors import OptionError, OutputError
from rnnverify.fixing import check_fixed
from rnnverify.inputs import InputOptions
from rnnverify.options import Options

QUICK = Options(inputs=InputOptions(sequences=2, steps=5), engine="reference")


def fixed(baseline: Path, candidate: Path, target: Path, options: Options = QUICK) -> Comparison:
    sources = [str(baseline), str(candidate)]
    return rnnverify.write_fixed(rnnverify.compare(*sources, options=options), sources, target, options)


def test_the_port_that_would_have_been_right(fixtures: Path, tmp_path: Path) -> None:
    """In the form and under the names of the wrong one, and judged against the baseline."""
    arrays = {f"encoder.rnn.{name}": array for name, array in load_file(fixtures / "rnn.safetensors").items()}
    wrong = {**arrays, "encoder.rnn.weight_hh_l0": np.ascontiguousarray(arrays["encoder.rnn.weight_hh_l0"].T)}
    save_file(wrong, tmp_path / "wrong.safetensors")
    target = tmp_path / "fixed.safetensors"
    result = fixed(fixtures / "simple_rnn.h5", tmp_path / "wrong.safetensors", target)
    assert (result.verdict, result.exit_code) == ("DIFFERENT", 1)
    assert result.fixed and (result.fixed.path, result.fixed.verdict) == (str(target), "IDENTICAL")
    assert "the network of A as safetensors" in result.fixed.note
    found = load_file(target)
    assert set(found) == set(wrong)
    assert np.array_equal(found["encoder.rnn.weight_hh_l0"], arrays["encoder.rnn.weight_hh_l0"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fixed.safetensors", "wrong.safetensors"]


def test_what_is_the_same_needs_no_fixing(fixtures: Path, tmp_path: Path) -> None:
    result = fixed(fixtures / "simple_rnn.h5", fixtures / "rnn.pt", tmp_path / "fixed.pt")
    assert result.fixed and result.fixed.path == ""
    assert result.fixed.note == "nothing was written: the networks of both files are the same"
    assert list(tmp_path.iterdir()) == []


def test_what_the_framework_cannot_hold_is_a_sentence(fixtures: Path, tmp_path: Path) -> None:
    result = fixed(fixtures / "wrong" / "go_backwards.keras", fixtures / "rnn.pt", tmp_path / "fixed.pt")
    assert result.fixed and result.fixed.path == "" and result.verdict == "DIFFERENT"
    assert result.fixed.note.startswith("nothing was written: ") and "runs backward only" in result.fixed.note
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_of_another_form_is_a_sentence(fixtures: Path, tmp_path: Path) -> None:
    wrong = fixtures / "wrong" / "bias_hh_dropped.pt"
    result = fixed(fixtures / "rnn.pt", wrong, tmp_path / "fixed.h5")
    assert result.fixed and list(tmp_path.iterdir()) == []
    assert "is named as Keras model, HDF5, and side B is PyTorch state_dict; let it end in .pt" in result.fixed.note


def test_what_options_say_of_the_baseline_counts(fixtures: Path, tmp_path: Path) -> None:
    wrong = fixtures / "wrong" / "bias_hh_dropped.pt"
    options = replace(QUICK, assumed=rnnverify.Assumed(("A=relu", "B=tanh")))
    result = fixed(fixtures / "rnn.pt", wrong, tmp_path / "fixed.pt", options)
    assert result.fixed and result.fixed.verdict == "IDENTICAL" and result.fixed.path


def test_what_is_refused_before_anything_runs(fixtures: Path, tmp_path: Path) -> None:
    model, target = str(fixtures / "rnn.pt"), tmp_path / "fixed.pt"
    with pytest.raises(OptionError, match="--write-fixed: puts one file right by another, and 3 were given; give two"):
        check_fixed([model] * 3, target)
    trace = tmp_path / "trace.npz"
    np.savez(trace, x=np.zeros((1, 2, 3)), y=np.zeros((1, 2, 4)))
    with pytest.raises(OptionError, match=r"trace.npz is a trace, and holds no weights; give two model files"):
        check_fixed([model, str(trace)], target)
    target.write_bytes(b"before")
    with pytest.raises(OutputError, match=r"fixed.pt is there already; choose another place$"):
        check_fixed([model, model], target)
    with pytest.raises(OutputError, match="is side B, which is never replaced"):
        check_fixed([model, str(target)], target)
