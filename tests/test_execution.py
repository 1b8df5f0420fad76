"""Which engine runs a side, and what the report says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

import rnnverify
from rnnverify.assumptions import Assumed
from rnnverify.errors import OptionError
from rnnverify.options import Options


def test_an_activation_that_a_framework_lacks_runs_in_the_reference(fixtures: Path) -> None:
    sides = (fixtures / "basic_rnn_cell.ckpt", fixtures / "rnn.pt")
    result = rnnverify.compare(*sides, options=Options(assumed=Assumed(("sigmoid",))))
    assert result.verdict == "EQUIVALENT"
    assert [side.engine for side in result.sides] == ["native", "reference"]
    assert "computes tanh or relu, not sigmoid" in result.sides[1].how
    with pytest.raises(OptionError, match="computes tanh or relu"):
        rnnverify.compare(*sides, options=Options(assumed=Assumed(("sigmoid",)), engine="native"))


def test_tensorflow_forms_of_keras_models_run_as_recorded(fixtures: Path) -> None:
    cases = ("tf.keras-2.1.4/rnn_a_savedmodel/saved_model", "keras-3.15.1/rnn_a_export/exported")
    sides = [fixtures / "genuine" / case for case in cases]
    result = rnnverify.compare(sides[0].parent / "io.npz", *sides)
    assert result.verdict == "EQUIVALENT"
    assert all("rebuilt with the file's own arrays" in side.how for side in result.sides[1:])
    assert [side.engine for side in result.sides] == ["trace", "native", "native"]
