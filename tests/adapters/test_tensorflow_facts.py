"""What the graph says reaches the network, the recipe and the notes; a graph that does not fit is left alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from rnnverify import reference
from rnnverify.adapters.reading import Reading
from rnnverify.adapters.tensorflow.adapter import read
from rnnverify.canonical import Array
from rnnverify.containers import open_model
from rnnverify.errors import FileError, SelectorError, UnsupportedError
from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.runner_process import Limits
from rnnverify.trace import Batch

FIXTURES = Path(__file__).parents[2] / "fixtures"
GRAPHS = FIXTURES / "graphs"
REFUSED = {
    "sine": "an activation computed by Sin; which is none of the activations known",
    "residual": r"its input added to its output \(ResidualWrapper\)",
}
RUN = sorted({path.stem for path in GRAPHS.glob("*.pb")} - REFUSED.keys() - {"two_stacks"})


def reading(path: Path, selector: str | None = None) -> Reading:
    return read(open_model(path), selector)


def recorded(name: str) -> tuple[Batch, Array]:
    with np.load(GRAPHS / f"{name}.npz") as io:
        y = io["y"]
        if name == "backward_first":  # which a Network has the other way round, and the reading says so
            y = np.concatenate(np.split(y, 2, axis=2)[::-1], axis=2)
        return Batch("zero", io["x"], None), y


@pytest.mark.parametrize("name", RUN)
def test_a_frozen_graph_is_the_network_that_tensorflow_ran(name: str) -> None:
    found = reading(GRAPHS / f"{name}.pb")
    batch, y = recorded(name)
    assert found.activation_stated
    assert np.abs(reference.run(found.network, (batch,)).runs["zero"].y - y).max() < 2e-6
    assert (name == "backward_first") == any("backward one first" in text for text in found.assumptions)


def test_frozen_graphs_run_in_tensorflow() -> None:
    """As recorded; and over 1200 steps, where the runner goes layer by layer, each direction in blocks."""
    long = Batch("long", np.random.default_rng(5).normal(size=(1, 1200, 3)).astype(np.float32), None)
    jobs = {}
    for name in RUN:
        batches = (recorded(name)[0], *([long] if name in ("reversed", "reversed_back", "sum") else []))
        jobs[name] = Job(name, name, GRAPHS / f"{name}.pb", reading(GRAPHS / f"{name}.pb"), batches)
    with Runners(Limits()) as runners:
        runners.submit(list(jobs.values()))
        for name, job in jobs.items():
            trace, result = runners.collect(job)
            assert np.abs(trace.runs["zero"].y - recorded(name)[1]).max() < 2e-6, name
            assert result["loaded"] == "" and "its operations are not executed" in result["why_not"]
            wanted = reference.run(job.reading.network, job.batches)
            assert all(np.abs(run.y - wanted.runs[batch].y).max() < 2e-6 for batch, run in trace.runs.items()), name


def test_a_stack_in_each_direction_is_two_networks() -> None:
    path, (batch, y) = GRAPHS / "two_stacks.pb", recorded("two_stacks")
    with pytest.raises(SelectorError, match=r"give one of .*#bidirectional_rnn/bw, .*#bidirectional_rnn/fw$"):
        reading(path)
    ways = {way: reading(path, f"bidirectional_rnn/{way}") for way in ("fw", "bw")}
    for found, wanted in zip(ways.values(), np.split(y, 2, axis=2), strict=True):
        assert np.abs(reference.run(found.network, (batch,)).runs["zero"].y - wanted).max() < 2e-6
    assert [found.assumptions[0].split()[1] for found in ways.values()] == ["forward", "backward"]
    with Runners(Limits()) as runners:
        jobs = [Job(way, way, path, found, (batch,)) for way, found in ways.items()]
        runners.submit(jobs)
        for job, wanted in zip(jobs, np.split(y, 2, axis=2), strict=True):
            assert np.abs(runners.collect(job)[0].runs["zero"].y - wanted).max() < 2e-6


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedError, match=REFUSED[name]):
        reading(GRAPHS / f"{name}.pb")


def test_the_recipe_names_what_differs_from_a_basic_rnn_cell() -> None:
    (layer,) = reading(GRAPHS / "state_first.pb").recipe.layers
    assert layer["directions"] == [{"kernel": "rnn/elman/W", "bias": "rnn/elman/b", "state_first": True}]
    (layer,) = reading(GRAPHS / "reversed.pb").recipe.layers
    assert (layer["reverse"], layer["time_restored"]) == (True, False)
    (layer,) = reading(GRAPHS / "sum.pb").recipe.layers
    assert layer["merge"] == "sum"


def test_rows_of_the_state_come_first_where_the_graph_says_so() -> None:
    found = reading(GRAPHS / "state_first.pb")
    kernel = found.recipe.tensors["rnn/elman/W"]
    (direction,) = found.network.layers[0].directions
    np.testing.assert_array_equal(direction.recurrent_kernel[0], kernel[:3])
    np.testing.assert_array_equal(direction.kernel[0], kernel[3:])
    assert found.roles["rnn/elman/W"] == "layer 0 kernel (rows 3-5) and recurrent kernel (rows 0-2)"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    for path in GRAPHS.glob("relu.ckpt*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "relu.ckpt"


def test_the_graph_beside_a_checkpoint_is_asked(checkpoint: Path) -> None:
    found = reading(checkpoint)
    assert found.activation_stated and found.network.layers[0].activation == "relu" and not found.assumptions
    assert found.notes == (
        "activation, order of the kernel's rows and direction in time are those of the graph beside it",
    )
    assert found.recipe.loadable


def test_without_its_graph_a_checkpoint_states_no_activation(checkpoint: Path) -> None:
    checkpoint.with_name("relu.ckpt.meta").unlink()
    found = reading(checkpoint)
    assert not found.activation_stated and found.network.layers[0].activation == "tanh" and found.notes == ()


@pytest.mark.parametrize("kept", [0, 1, 5000])
def test_a_damaged_graph_is_left_alone(checkpoint: Path, kept: int) -> None:
    meta = checkpoint.with_name("relu.ckpt.meta")
    meta.write_bytes(meta.read_bytes()[:kept])
    found = reading(checkpoint)
    assert not found.activation_stated and found.network.layers[0].activation == "tanh"
    assert not kept or "the graph beside it was not used" in found.notes[0]


def test_the_graph_of_another_checkpoint_is_left_alone(checkpoint: Path) -> None:
    for other, words in (("genuine/tf-1.1.0/rnn_multi_v2/model.ckpt.meta", "enc/basic"), ("relu", "of other shapes")):
        meta = checkpoint.with_name("relu.ckpt.meta")
        if other == "relu":  # the same names, in another width: 7 x 4 becomes 7 x 5
            shape = bytes([0x12, 2, 8, 7, 0x12, 2, 8])
            assert shape + b"\x04" in (GRAPHS / "relu.ckpt.meta").read_bytes()
            meta.write_bytes((GRAPHS / "relu.ckpt.meta").read_bytes().replace(shape + b"\x04", shape + b"\x05"))
        else:
            shutil.copy(FIXTURES / other, meta)
        found = reading(checkpoint)
        assert not found.activation_stated and found.network.layers[0].activation == "tanh"
        assert "was not used: it has other variables" in found.notes[0] and words in found.notes[0]


@pytest.mark.parametrize(("selector", "activation"), [("enc", "tanh"), ("dec", "relu"), ("enc+dec", "tanh")])
def test_each_part_has_the_activation_of_its_own(selector: str, activation: str) -> None:
    found = reading(FIXTURES / "genuine/tf-1.1.0/rnn_multi_v2", selector)
    assert found.activation_stated and found.network.layers[0].activation == activation
    assert found.network.layers[-1].activation == ("tanh" if selector == "enc" else "relu")


def test_lengths_in_the_graph_are_noted() -> None:
    found = reading(FIXTURES / "genuine/tf-1.15.5/rnn_a_seqlen")
    assert found.notes[-1] == "its graph ends sequences early by a sequence_length; all steps are compared here"


@pytest.mark.parametrize("selector", ["ema", ":ema", "rnn:ema", "rnn#ema"])
def test_moving_averages_are_taken_when_they_are_asked_for(selector: str) -> None:
    found = reading(FIXTURES / "genuine/tf-1.8.0/rnn_emb_adam_ema_v2", selector)
    assert found.part == "rnn:ema"
    names = ("rnn/basic_rnn_cell/kernel", "rnn/basic_rnn_cell/bias", "embedding", "softmax_w", "softmax_b")
    assert set(found.roles) == {f"{name}/ExponentialMovingAverage" for name in names}


def test_moving_averages_that_are_not_there_are_not_found() -> None:
    with pytest.raises(SelectorError, match="no moving averages"):
        reading(GRAPHS / "scan.pb", "ema")


def test_a_truncated_frozen_graph_is_refused() -> None:
    with pytest.raises(FileError, match="damaged or truncated TensorFlow graph"):
        open_model(FIXTURES / "bad/trunc_pb_50/model.pb")


def test_directions_of_other_activations_are_refused(tmp_path: Path) -> None:
    data = bytearray((GRAPHS / "sum.pb").read_bytes())
    at = data.rindex(b"\x12\x04Tanh")  # NodeDef.op of one direction, in another activation of as many letters
    data[at : at + 6] = b"\x12\x04Relu"
    (tmp_path / "g.pb").write_bytes(data)
    with pytest.raises(UnsupportedError, match="compute differently: relu, tanh"):
        reading(tmp_path / "g.pb")
