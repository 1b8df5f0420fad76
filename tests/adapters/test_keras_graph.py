"""GRUs and LSTMs of exported Keras models: what their graph computes is what they are read as."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rnnverify import reference
from rnnverify.adapters.keras.adapter import read
from rnnverify.adapters.keras.graph import SHOWN, formula_of, with_gates
from rnnverify.adapters.reading import Reading
from rnnverify.canonical import Gating
from rnnverify.containers import open_model
from rnnverify.errors import UnsupportedError
from rnnverify.trace import ZERO, Batch

FIXTURES = Path(__file__).parents[2] / "fixtures"
EXPORTS = FIXTURES / "exports"


def reading(name: str) -> Reading:
    return read(open_model(EXPORTS / name), None)


@pytest.mark.parametrize(
    ("name", "formulas"),
    [
        (
            "mixed",
            [
                ("lstm", "tanh", "hard_sigmoid", "tanh", 0.0),
                ("gru", "relu", "sigmoid", False),
                ("gru", "softsign", "hard_sigmoid", True),
            ],
        ),
        ("bare", [("gru", "tanh", "sigmoid", False)]),  # which no weight tells
    ],
)
def test_a_graph_says_what_each_layer_computes(name: str, formulas: list[tuple[object, ...]]) -> None:
    found = reading(name)
    assert [layer.formula for layer in found.network.layers] == formulas
    assert found.activation_stated and not found.open
    recorded = np.load(EXPORTS / f"{name}.npz")
    run = reference.run(found.network, (Batch(ZERO, recorded["x"]),)).runs[ZERO]
    assert np.abs(run.y - recorded["y"]).max() < 1e-6


def test_a_genuine_export_states_it_too() -> None:
    found = read(open_model(FIXTURES / "genuine/keras-3.0.5/lstm_a_export/exported"), None)
    assert found.activation_stated and not found.open
    assert found.network.layers[0].formula == ("lstm", "tanh", "sigmoid", "tanh", 0.0)


def test_what_a_graph_computes_otherwise_is_refused() -> None:
    with pytest.raises(
        UnsupportedError, match="lstm_1/lstm_cell computes something else than such a cell in the graph"
    ):
        reading("sine")


def test_what_a_graph_does_not_show_stays_open() -> None:
    """Steps that are written out one by one, and a graph that is not intact."""
    found = reading("unrolled")
    assert not found.activation_stated and found.open == {"gate_activation"}


def test_a_graph_that_is_gone_says_nothing(tmp_path: Path) -> None:
    shutil.copytree(EXPORTS / "bare", tmp_path / "bare")
    contents = open_model(tmp_path / "bare")
    (tmp_path / "bare/saved_model.pb").unlink()
    assert with_gates(contents) is contents
    assert with_gates(replace(contents, metadata={})).metadata == {}


def test_one_formula_of_one_cell_counts() -> None:
    contents = with_gates(open_model(EXPORTS / "bare"))
    (kernel,) = (name for name in contents.tensors if name.endswith("/kernel") and "variables" not in name)
    plain = ("tanh", Gating("sigmoid", reset_after=False))
    assert formula_of(contents, kernel) == plain
    assert formula_of(contents, "other/kernel") is None
    ((place, own),) = contents.metadata[SHOWN].items()  # type: ignore[attr-defined]  # a dict, by `with_gates`
    assert own == {plain}
    for several in ({plain, None}, {plain, ("relu", plain[1])}):
        changed = replace(contents, metadata={**contents.metadata, SHOWN: {place: several}})
        assert formula_of(changed, kernel) is None
    elsewhere = replace(contents, metadata={**contents.metadata, SHOWN: {(place[0], (9, 9)): own}})
    assert formula_of(elsewhere, kernel) is None
