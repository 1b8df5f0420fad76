"""Sides run in another dtype, by their frameworks, and judged by what it rounds."""

from pathlib import Path

import numpy as np
import pytest

import rnnverify
from rnnverify.errors import OptionError
from rnnverify.inputs import InputOptions
from rnnverify.options import Options
from rnnverify.precision import UNIT_ROUNDOFF, DtypeName, holds
from rnnverify.trace_file import load

SMALL = InputOptions(sequences=3, steps=7)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_every_framework_computes_in_it(fixtures: Path, dtype: DtypeName) -> None:
    files = [fixtures / name for name in ("bidirectional.keras", "bidirectional.pt", "bidirectional.ckpt")]
    result = rnnverify.compare(*files, options=Options(inputs=SMALL, dtype=dtype))
    assert result.verdict == "EQUIVALENT"
    for pair in result.pairs:
        assert pair.implementation_candidate and pair.adequacy and pair.adequacy.survivors == ()
        assert 1e-3 * UNIT_ROUNDOFF[dtype] < pair.implementation_candidate < 100 * UNIT_ROUNDOFF[dtype]
    assert all(side.how.endswith(f", in {dtype}") for side in result.sides)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_wrong_port_is_seen_in_it(fixtures: Path, dtype: DtypeName) -> None:
    wrong = fixtures / "wrong" / "recurrent_transposed.pt"
    result = rnnverify.compare(fixtures / "simple_rnn.h5", wrong, options=Options(inputs=SMALL, dtype=dtype))
    assert "states of B do not follow from the weights of A" in result.pairs[0].reasons[0]
    assert result.verdict == "DIFFERENT"


def test_weights_are_compared_as_the_files_hold_them(fixtures: Path) -> None:
    rounded = fixtures / "wrong" / "float16_rounded.pt"
    options = Options(inputs=SMALL, dtype="float16", engine="reference")
    result = rnnverify.compare(fixtures / "simple_rnn.h5", rounded, options=options)
    assert result.verdict == "DIFFERENT"
    assert any("rounded to float16" in reason for reason in result.pairs[0].reasons)


def test_a_recording_keeps_its_dtype_and_its_inputs(fixtures: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    rnnverify.run(fixtures / "rnn.pt", path, Options(inputs=SMALL, dtype="bfloat16"))
    run = load(path).runs["zero"]
    assert run.y.dtype == np.float32 and holds(run.y, "bfloat16") and holds(run.batch.x, "bfloat16")
    same = rnnverify.compare(path, fixtures / "simple_rnn.h5", options=Options(dtype="bfloat16"))
    assert same.verdict == "EQUIVALENT"
    other = rnnverify.compare(path, fixtures / "simple_rnn.h5")
    assert other.verdict == "DIFFERENT"
    assert (
        "the dtype is another: A computed in bfloat16, B in float32 (--dtype bfloat16 runs models in it)"
        in other.pairs[0].reasons
    )


def test_inputs_of_a_recording_are_not_rounded(fixtures: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.npz"
    rnnverify.run(fixtures / "rnn.pt", path, Options(inputs=SMALL, engine="reference"))
    with pytest.raises(OptionError, match="do not fit"):
        rnnverify.compare(path, fixtures / "simple_rnn.h5", options=Options(dtype="float16"))
    with pytest.raises(OptionError, match="wanted one of"):
        Options(dtype="int8")  # type: ignore[arg-type]  # the wrong value is what is tested
