"""Keras cells in frozen graphs of TensorFlow 2: constants without names of their own become the cells they compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rnnverify import reference
from rnnverify.adapters.graph import unnamed as graph_unnamed
from rnnverify.adapters.graph.unnamed import find_unnamed
from rnnverify.adapters.tensorflow.adapter import read
from rnnverify.containers import open_model
from rnnverify.errors import SelectorError, UnsupportedError
from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.runner_process import Limits
from rnnverify.trace import ZERO, Batch

EXPORTS = Path(__file__).parents[2] / "fixtures" / "exports"
MIXED = "sequential_1/bidirectional_1+sequential_1/gru_1/gru_cell_1+sequential_1/gru_1_2/gru_cell_1"
CASES = {
    "frozen": (
        MIXED,
        [
            ("lstm", "tanh", "hard_sigmoid", "tanh", 0.0),
            ("gru", "relu", "sigmoid", False),
            ("gru", "softsign", "hard_sigmoid", True),
        ],
    ),
    "frozen_functions": (
        "sequential/gru+sequential/lstm/lstm_cell",
        [("gru", "tanh", "sigmoid", True), ("lstm", "relu", "sigmoid", "relu", 0.0)],
    ),
}


def batch(name: str) -> tuple[Batch, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    with np.load(EXPORTS / f"{name}.npz") as io:
        return Batch(ZERO, io["x"]), io["y"]


@pytest.mark.parametrize("name", CASES)
def test_a_frozen_graph_is_the_network_that_keras_ran(name: str) -> None:
    selector, formulas = CASES[name]
    found = read(open_model(EXPORTS / f"{name}.pb"), selector)
    assert [layer.formula for layer in found.network.layers] == formulas
    assert found.activation_stated and not found.open
    assert [[d.reverse for d in layer.directions] for layer in found.network.layers][1:] == [[False]] * len(
        formulas[1:]
    )
    given, y = batch(name)
    assert np.abs(reference.run(found.network, (given,)).runs[ZERO].y - y).max() < 1e-6


def test_tensorflow_runs_them() -> None:
    jobs = {}
    for name, (selector, _) in CASES.items():
        found = read(open_model(EXPORTS / f"{name}.pb"), selector)
        jobs[name] = Job(name, name, EXPORTS / f"{name}.pb", found, (batch(name)[0],))
    with Runners(Limits()) as runners:
        runners.submit(list(jobs.values()))
        for name, job in jobs.items():
            trace, _ = runners.collect(job)
            assert np.abs(trace.runs[ZERO].y - batch(name)[1]).max() < 1e-5


def test_parts_are_told_apart() -> None:
    with pytest.raises(SelectorError, match=r"several recurrent parts; give one of .*frozen.pb#sequential_1/bidirec"):
        read(open_model(EXPORTS / "frozen.pb"), None)


def test_what_is_named_is_not_proposed_again_and_the_bias_is_part_of_a_cell() -> None:
    contents = open_model(EXPORTS / "frozen_functions.pb")
    graph = contents.metadata["graph"]
    shapes = {name: tensor.shape for name, tensor in contents.tensors.items()}
    cells = [cell for cell, _ in find_unnamed(graph, shapes, ())]  # type: ignore[arg-type]  # the graph of a frozen file
    assert sorted(cell.kind for cell in cells) == ["keras_gru", "keras_lstm"]
    assert all({*cell.variables} == {"kernel", "recurrent_kernel", "bias"} for cell in cells)
    (gru,) = (cell for cell in cells if cell.kind == "keras_gru")
    left = find_unnamed(graph, shapes, gru.variables["bias"])  # type: ignore[arg-type]  # as above
    assert [cell.kind for cell, _ in left] == ["keras_lstm"]


def test_what_is_not_proved_is_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_unnamed, "find_keras", lambda *_: {})
    with pytest.raises(UnsupportedError, match="which is no variable of such a cell"):
        read(open_model(EXPORTS / "frozen_functions.pb"), None)
