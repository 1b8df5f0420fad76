"""Gated cells in graphs that TensorFlow wrote: what the graph says reaches the network, and the runner computes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from rnnverify import reference
from rnnverify.adapters.graph import gates as graph_gates
from rnnverify.adapters.graph.gates import find_gated
from rnnverify.adapters.reading import Reading
from rnnverify.adapters.tensorflow.adapter import read
from rnnverify.adapters.tensorflow.names import find_cells
from rnnverify.canonical import Array
from rnnverify.containers import open_model
from rnnverify.containers.tf_graph import Graph, Node, read_graph
from rnnverify.errors import UnsupportedError
from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.runner_process import Limits
from rnnverify.trace import Batch, Run

GATES = Path(__file__).parents[2] / "fixtures" / "gates"
REFUSED = {
    "proj_clip": r"computes something else than such a cell in its graph \(proj_clip\)",
    "hard_gates": "computes something else than such a cell in its graph .*; this version compares cells without",
    "residual_lstm": "its input added to its output",
    "keras_lstm_sine": r"computes something else than such a cell in its graph \(.*Sin.*\)",
}
RUN = sorted({path.stem for path in GATES.glob("*.pb")} - REFUSED.keys())


def reading(path: Path) -> Reading:
    return read(open_model(path), None)


def recorded(name: str) -> tuple[Batch, Array]:
    with np.load(GATES / f"{name}.npz") as io:
        return Batch("zero", io["x"]), io["y"]


@pytest.mark.parametrize("name", RUN)
def test_a_frozen_graph_is_the_network_that_tensorflow_ran(name: str) -> None:
    found = reading(GATES / f"{name}.pb")
    batch, y = recorded(name)
    assert found.activation_stated and not found.open and not found.assumptions
    assert np.abs(reference.run(found.network, (batch,)).runs["zero"].y - y).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "activation", "clip", "added"),
    [
        ("basic_lstm", "softsign", 0.0, [0.25]),
        ("all_of_lstm", "softsign", 0.75, [0.5]),
        ("all_of_lstm_flat", "softsign", 0.75, [0.5]),
        ("basic_lstm_flat", "tanh", 0.0, [1.0]),
        ("static_lstm", "tanh", 0.0, [0.5]),
        ("both_ways", "tanh", 0.0, [0.25, 2.0]),
        ("product", "tanh", 0.0, [0.25, 2.0]),
        ("block", "tanh", 0.5, [0.75]),
        ("fused_reversed", "tanh", 0.0, [0.5]),
        ("partitioned_lstm", "tanh", 0.0, [1.0]),
        ("coupled", "tanh", 0.0, [1.0]),
    ],
)
def test_what_a_graph_says_of_an_lstm(name: str, activation: str, clip: float, added: list[float]) -> None:
    (layer,) = reading(GATES / f"{name}.pb").network.layers
    assert (layer.cell, layer.activation, layer.gating.cell_clip) == ("lstm", activation, clip)
    assert [set(d.bias_recurrent[1].tolist()) for d in layer.directions] == [{bias} for bias in added]
    for direction in layer.directions:
        rest = np.delete(direction.bias_recurrent, (0, 1) if name == "coupled" else 1, axis=0)
        assert not rest.any()


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("keras_gru", ("gru", "tanh", "sigmoid", True)),
        ("keras_gru_before", ("gru", "tanh", "sigmoid", False)),
        ("keras_gru_bare", ("gru", "tanh", "sigmoid", False)),
        ("keras_gru_bare_after", ("gru", "tanh", "sigmoid", True)),
        ("keras_gru_by_gate", ("gru", "relu", "keras2_hard_sigmoid", True)),
        ("keras_gru_before_by_gate", ("gru", "tanh", "sigmoid", False)),
        ("keras_lstm_by_gate", ("lstm", "softsign", "keras2_hard_sigmoid", "softsign", 0.0)),
        ("keras_lstm_in_functions", ("lstm", "relu", "sigmoid", "relu", 0.0)),
        ("keras_layer_lstm", ("lstm", "tanh", "keras2_hard_sigmoid", "tanh", 0.0)),
    ],
)
def test_what_a_graph_says_of_a_cell_of_keras(name: str, formula: tuple[object, ...]) -> None:
    (layer,) = reading(GATES / f"{name}.pb").network.layers
    assert layer.formula == formula


def test_which_way_a_cell_of_keras_runs() -> None:
    (layer,) = reading(GATES / "keras_gru_backwards.pb").network.layers
    assert layer.directions[0].reverse and layer.time_restored
    (both,) = reading(GATES / "keras_layer_gru_both_ways.pb").network.layers
    assert both.merge == "sum" and [d.reverse for d in both.directions] == [False, True]


def test_what_else_a_graph_says() -> None:
    assert [layer.activation for layer in reading(GATES / "mixed.pb").network.layers] == ["relu", "tanh", "tanh"]
    assert reading(GATES / "product.pb").network.layers[0].merge == "mul"
    (fused,) = reading(GATES / "fused_reversed.pb").network.layers
    assert fused.directions[0].reverse and fused.time_restored
    assert "its graph ends sequences early" in reading(GATES / "lengths.pb").notes[-1]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedError, match=REFUSED[name]):
        reading(GATES / f"{name}.pb")


def everything(run: Run) -> list[Array]:
    return [run.y, *run.h_n, *run.c_n, *run.states]


def test_frozen_graphs_run_in_tensorflow() -> None:
    """As recorded; from other states; and over 1200 steps, in blocks, or layer by layer where some run backwards."""
    jobs = {}
    for name in RUN:
        found = reading(GATES / f"{name}.pb")
        rng = np.random.default_rng(5)
        batch, _ = recorded(name)
        h0, c0 = (tuple(rng.normal(size=(2, n)).astype(np.float32) for n in s) for s in found.network.state_sizes())
        long = Batch("long", rng.normal(size=(1, 1200, 3)).astype(np.float32))
        batches = (batch, Batch("from_h0", batch.x, h0, c0 or None), long)
        jobs[name] = Job(name, name, GATES / f"{name}.pb", found, batches)
    with Runners(Limits()) as runners:
        runners.submit(list(jobs.values()))
        for name, job in jobs.items():
            trace, result = runners.collect(job)
            assert np.abs(trace.runs["zero"].y - recorded(name)[1]).max() < 1e-6, name
            assert result["loaded"] == "" and "its operations are not executed" in result["why_not"]
            wanted = reference.run(job.reading.network, job.batches)
            for batch_name, run in trace.runs.items():
                for ours, theirs in zip(everything(run), everything(wanted.runs[batch_name]), strict=True):
                    assert np.abs(ours - theirs).max() < 1e-5, (name, batch_name)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    for path in GATES.glob("lstm.ckpt*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "lstm.ckpt"


def test_the_graph_beside_a_checkpoint_states_its_forget_bias(checkpoint: Path) -> None:
    found = reading(checkpoint)
    assert found.activation_stated and not found.open and found.recipe.loadable
    assert not found.network.layers[0].directions[0].bias_recurrent.any()


def test_without_its_graph_a_checkpoint_leaves_the_forget_bias_open(checkpoint: Path) -> None:
    checkpoint.with_name("lstm.ckpt.meta").unlink()
    found = reading(checkpoint)
    assert not found.activation_stated and found.open == {"forget_bias"}
    (direction,) = found.network.layers[0].directions
    assert (direction.bias_recurrent == [[0], [1], [0], [0]]).all()


def changed(graph: Graph, kind: str, **fields: object) -> Graph:
    """The graph with every node of that kind changed."""
    found = {name: Node(**{**vars(node), **fields}) if node.op == kind else node for name, node in graph.items()}
    assert found != graph
    return found


def activations(graph: Graph) -> set[str]:
    contents = open_model(GATES / "basic_lstm.pb")
    cells = [cell for cell in find_cells(contents.tensors, shadows=False) if cell.kind]
    return {way.activation for ways in find_gated(graph, cells).values() for way in ways}


def test_a_graph_that_computes_something_else_has_no_activation() -> None:
    """One operation changed at a time: the numbers no longer fit, or the operation is not known at all."""
    graph = read_graph(GATES / "basic_lstm.pb")
    assert activations(graph) == {"softsign"}
    assert activations(changed(graph, "Softsign", op="Tanh")) == {"tanh"}
    assert activations(changed(graph, "Sigmoid", op="Tanh")) == {""}
    assert activations(changed(graph, "AddV2", op="Sub")) == {""}
    for kind, op in (("Softsign", "Cumsum"), ("Split", "Unpack"), ("Softsign", "Add")):
        assert activations(changed(graph, kind, op=op)) == set()
    assert activations(changed(graph, "Split", attributes={})) == set()


def test_long_chains_end(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = read_graph(GATES / "static_lstm.pb")
    cells = [cell for cell in find_cells(open_model(GATES / "static_lstm.pb").tensors, shadows=False) if cell.kind]
    assert len(find_gated(graph, cells)) == 1
    monkeypatch.setattr(graph_gates, "_NEAR", 2)
    assert find_gated(graph, cells) == {}


def test_a_graph_that_grows_without_end_is_not_followed() -> None:
    """A candidate joined with itself again and again, and one behind more operations than a step has."""
    graph = read_graph(GATES / "basic_lstm.pb")
    axis = next(node.inputs[2] for node in graph.values() if node.op == "ConcatV2")
    softsign = next(node for node in graph.values() if node.op == "Softsign")
    for kind, inputs in (("ConcatV2", 2), ("Neg", 1)):
        chain = {"n0": Node("n0", "Neg", softsign.inputs)}
        for k in range(1, 300):
            chain[f"n{k}"] = Node(f"n{k}", kind, (f"n{k - 1}",) * inputs + (axis,) * (kind == "ConcatV2"))
        end = Node(softsign.name, "Softsign", ("n299",))
        assert activations({**graph, **chain, softsign.name: end}) == set()


@pytest.mark.parametrize("farthest", [2, 10, 25, 60, 100])
def test_of_a_large_graph_nothing_is_said_that_is_wrong(farthest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unrolled graphs with gradients have more nodes behind a step than are looked at: then it is not shown."""
    graph = read_graph(GATES / "static_lstm.pb")
    monkeypatch.setattr("rnnverify.adapters.graph.walk.FARTHEST", farthest)
    monkeypatch.setattr("rnnverify.adapters.graph.gates.FARTHEST", farthest)
    cells = [cell for cell in find_cells(open_model(GATES / "static_lstm.pb").tensors, shadows=False) if cell.kind]
    found = {way.activation for ways in find_gated(graph, cells).values() for way in ways}
    assert found == {"tanh"} if farthest == 100 else found <= {"tanh"}
