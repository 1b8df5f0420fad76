"""Sequences of different length, run by every framework in its own way, against the reference of each by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from networks import direction, gates

import rnnverify
from rnnverify import lengths, reference
from rnnverify.adapters import restate
from rnnverify.adapters.layouts import lay_out
from rnnverify.canonical import CellKind, Gating, Layer, Network
from rnnverify.containers import FrameworkName
from rnnverify.inputs import InputOptions
from rnnverify.jobs import Job, Order
from rnnverify.native import Runners
from rnnverify.options import Options
from rnnverify.runner_process import Limits
from rnnverify.sides import open_side, parse
from rnnverify.targets import FORMS
from rnnverify.trace import LENGTHS, ZERO, Batch, Run, Trace
from rnnverify.trace_file import load, save

RNG = np.random.default_rng(11)
BOTH = (False, True)
T = 7


def layer(cell: CellKind, I: int, H: int, ways: tuple[bool, ...] = (False,), reset_after: bool = True) -> Layer:
    kernels = tuple(
        direction(RNG, I, H, reverse=way) if cell == "rnn" else gates(RNG, cell, I, H, reverse=way) for way in ways
    )
    if cell != "gru" or not reset_after:  # one bias, as most frameworks have it
        kernels = tuple(replace(d, bias_recurrent=np.zeros_like(d.bias_recurrent)) for d in kernels)
    return Layer(kernels, cell=cell, gating=Gating(reset_after=reset_after))


def networks_of(kind: CellKind, reset_after: bool) -> Mapping[str, Network]:
    def made(I: int, H: int, ways: tuple[bool, ...] = (False,)) -> Layer:
        return layer(kind, I, H, ways, reset_after or kind != "gru")

    return {
        "alone": Network((made(3, 4),)),
        "both ways": Network((made(3, 4, BOTH),)),
        "stack": Network((made(3, 4), made(4, 2))),
        "stack both ways": Network((made(3, 4, BOTH), made(8, 2, BOTH))),
    }


def padded(network: Network, B: int = 5) -> Batch:
    """Random lengths, one sequence as long as all and one of a single step; what is behind them is not zero."""
    x = RNG.normal(size=(B, T, network.input_size)).astype(np.float32)
    given = np.concatenate([[T, 1], RNG.integers(1, T + 1, B - 2)])
    sizes, cell_sizes = network.state_sizes()
    h0, c0 = (tuple(RNG.normal(size=(B, n)).astype(np.float32) for n in each) for each in (sizes, cell_sizes))
    return Batch(LENGTHS, x, h0, c0 or None, RNG.permutation(given))


def check(trace: Trace, network: Network, batch: Batch) -> None:
    """Every output, state and final state of each sequence, as if it had been run by itself."""
    found = lengths.cut(trace, network).runs
    expected = reference.run(network, lengths.cut_batches([batch])).runs
    assert found.keys() == expected.keys() and len(found) > 2
    for name, run in expected.items():
        ours, theirs = ([r.y, *r.h_n, *r.c_n] for r in (run, found[name]))
        if found[name].states:
            ours, theirs = [*ours, *run.states], [*theirs, *found[name].states]
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape and float(np.abs(a - b).max()) < 2e-6, name


@pytest.mark.parametrize("framework", ["torch", "keras", "tensorflow", "onnx"])
def test_every_sequence_is_run_as_if_it_were_alone(framework: FrameworkName, tmp_path: Path) -> None:
    form = next(form for form in FORMS.values() if form.framework == framework)
    orders: list[Order] = []
    made: dict[tuple[CellKind, str], str] = {}
    for kind in get_args(CellKind):
        for name, network in networks_of(kind, framework != "tensorflow").items():
            path = tmp_path / f"{len(orders)}{form.suffixes[0]}"
            layout = lay_out(network, framework, path)
            orders.append(Order(path.name, layout, network.input_size, path, form.name))
            made[kind, name] = f"{path}{'#' * bool(layout.part)}{layout.part}"
    with Runners(Limits()) as runners:
        runners.write(*orders)
    jobs = []
    for (kind, name), source in made.items():
        side = open_side(parse(source, "A"))
        assert side.reading and side.contents and side.network
        batch = padded(side.network)
        jobs.append(Job(f"{kind} {name}", source, side.contents.path, side.reading, (batch,)))
    run_and_check(jobs)


def run_and_check(jobs: list[Job]) -> None:
    with Runners(Limits()) as runners:
        runners.submit(jobs)
        for job in jobs:
            trace, _ = runners.collect(job)
            check(trace, job.reading.network, job.batches[0])


@pytest.mark.parametrize(
    ("name", "reverse"),
    [
        ("gru.eqx", None),
        ("lstm.eqx", True),
        ("lstm_nnx.msgpack", None),
        ("lstm_nnx.msgpack", True),
        ("stacked_nnx.npz", None),
        ("bidirectional_nnx", None),
    ],
)
def test_flax_and_equinox_do_the_same(name: str, reverse: bool | None, fixtures: Path) -> None:
    side = open_side(parse(str(fixtures / name), "A"))
    assert side.reading and side.contents
    reading = restate(side.reading, None, reverse) if reverse else side.reading
    run_and_check([Job("A", name, side.contents.path, reading, (padded(reading.network),))])


def test_a_backward_layer_alone_starts_at_the_end_of_each_sequence(tmp_path: Path) -> None:
    """What its outputs are padded with comes first there."""
    network = Network((replace(layer("lstm", 3, 4, (True,)), time_restored=False),))
    path = tmp_path / "backward.keras"
    with Runners(Limits()) as runners:
        runners.write(Order("backward", lay_out(network, "keras", path), 3, path, "keras"))
    side = open_side(parse(str(path), "A"))
    assert side.reading and side.contents and not side.reading.network.layers[0].time_restored
    run_and_check([Job("A", "backward", path, side.reading, (padded(network),))])


LENGTHS_OF = Options(inputs=InputOptions(sequences=5, steps=T, lengths=(T, 2, 4)), engine="native")


def test_frameworks_are_compared_on_them(fixtures: Path) -> None:
    names = ("bidirectional.h5", "bidirectional.pt", "bidirectional.ckpt")
    result = rnnverify.compare(*(fixtures / name for name in names), options=LENGTHS_OF)
    assert result.verdict == "EQUIVALENT"
    assert result.inputs["batches"]["lengths"]["lengths"] == [T, 2, 4, T, 2]
    assert {m.batch for m in result.pairs[0].measured} >= {f"length {n}" for n in (T, 2, 4)}
    said = [[note for note in side.notes if "beyond the end of a sequence" in note] for side in result.sides]
    assert [len(notes) for notes in said] == [1, 1, 1]


@pytest.mark.parametrize("name", ["rnn.pt", "bidirectional.pt"])
@pytest.mark.parametrize("right", [True, False])
def test_a_port_that_runs_through_the_padding_is_told(name: str, right: bool, fixtures: Path, tmp_path: Path) -> None:
    """In one direction only the final states show it."""
    side = open_side(parse(str(fixtures / name), "A"))
    assert side.network
    batch = replace(padded(side.network), h0=None)
    runs = reference.run(side.network, [Batch(ZERO, batch.x)]).runs
    y = runs[ZERO].y.astype(np.float32)
    h_n = [state.astype(np.float32) for state in runs[ZERO].h_n]
    if right:
        assert batch.lengths is not None
        for k, n in enumerate(batch.lengths):
            (alone,) = reference.run(side.network, [Batch(ZERO, batch.x[k : k + 1, :n])]).runs.values()
            y[k, :n] = alone.y[0]
            for state, last in zip(h_n, alone.h_n, strict=True):
                state[k] = last[0]
    zero = Run(Batch(ZERO, batch.x), runs[ZERO].y.astype(np.float32))
    port = Trace({ZERO: zero, LENGTHS: Run(batch, y, tuple(h_n))})
    save(port, tmp_path / "port.npz")
    result = rnnverify.compare(fixtures / name, tmp_path / "port.npz")
    assert result.verdict == ("EQUIVALENT" if right else "DIFFERENT"), result.pairs[0].reasons


def test_a_record_holds_them_too(fixtures: Path, tmp_path: Path) -> None:
    rnnverify.run(fixtures / "bidirectional.pt", tmp_path / "case.npz", options=LENGTHS_OF)
    assert load(tmp_path / "case.npz").runs[LENGTHS].batch.lengths is not None
    result = rnnverify.compare(tmp_path / "case.npz", fixtures / "bidirectional.h5")
    assert result.verdict == "EQUIVALENT" and f"length {T}" in {m.batch for m in result.pairs[0].measured}


def test_what_another_version_made_of_them(fixtures: Path) -> None:
    case = fixtures / "genuine" / "tf-1.15.5" / "rnn_a_seqlen"
    assert "lengths" in load(case / "io.npz").runs
    result = rnnverify.compare(case / "io.npz", case / "model.ckpt", options=Options(engine="native"))
    assert result.verdict == "EQUIVALENT"
