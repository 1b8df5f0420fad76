"""Gated layers through PyTorch itself: written in each of its forms, read back, run, and told from planted mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from networks import direction, edited, gated, gates
from safetensors.numpy import load_file, save_file

import rnnverify
from rnnverify import lengths, reference
from rnnverify.adapters.layouts import lay_out
from rnnverify.assumptions import Assumed, settle
from rnnverify.canonical import Array, CellKind, Layer, Network
from rnnverify.inputs import InputOptions
from rnnverify.jobs import Job, Order
from rnnverify.native import Runners
from rnnverify.options import Options
from rnnverify.runner_process import Limits
from rnnverify.sides import open_side, parse
from rnnverify.targets import FORMS
from rnnverify.trace import FROM_H0, ZERO, Batch

RNG = np.random.default_rng(3)
FEW = Options(inputs=InputOptions(sequences=2, steps=5))
READ = Options(inputs=FEW.inputs, engine="reference")
BOTH = (False, True)


def layer(cell: CellKind, I: int, H: int, ways: tuple[bool, ...] = (False,), P: int = 0) -> Layer:
    return Layer(tuple(gates(RNG, cell, I, H, P=P, reverse=reverse) for reverse in ways), cell=cell)


NETWORKS: Mapping[str, Network] = {
    "gru": Network((layer("gru", 3, 4),)),
    "lstm": Network((layer("lstm", 3, 4),)),
    "gru both ways": Network((layer("gru", 3, 4, BOTH), layer("gru", 8, 4, BOTH))),
    "lstm projected both ways": Network((layer("lstm", 3, 4, BOTH, 2), layer("lstm", 4, 4, BOTH, 2))),
    "mixed": Network((layer("lstm", 3, 4, P=2), layer("gru", 2, 3, BOTH), Layer((direction(RNG, 6, 2),)))),
    "float64": Network((layer("lstm", 3, 4),)).mapped(lambda w: w.astype(np.float64)),
    "no bias": edited(gated("gru"), bias_input=np.zeros((3, 4)), bias_recurrent=np.zeros((3, 4)), has_bias=False),
}


def test_what_torch_writes_is_read_back_and_runs_as_the_reference(tmp_path: Path) -> None:
    """Long enough that both directions are run layer by layer, in blocks; from given h and c."""
    orders, sources = [], {}
    forms = [form for form in FORMS.values() if form.framework == "torch"]
    for number, (name, network) in enumerate(NETWORKS.items()):
        for form in forms:
            path = tmp_path / f"{number}{form.suffixes[0]}"
            layout = lay_out(network, "torch", path)
            orders.append(Order(path.name, layout, network.input_size, path, form.name))
            sources[name, form.name] = f"{path}{'#' * bool(layout.part)}{layout.part}"
    with Runners(Limits()) as runners:
        runners.write(*orders)
    jobs = []
    for (name, _), source in sources.items():
        side, network = open_side(parse(source, "A")), NETWORKS[name]
        assert side.reading and side.contents and side.network
        assert side.reading.activation_stated == (name != "mixed")
        for (tensor, found), (_, wanted) in zip(side.network.tensors(), network.tensors(), strict=True):
            assert np.array_equal(found, wanted), (source, tensor)
        T = 1001 if "both" in name else 250
        starts = [tuple(RNG.normal(size=(2, n)) for n in sizes) for sizes in network.state_sizes()]
        h0, c0 = (tuple(array.astype(side.network.dtype) for array in states) for states in starts)
        x = RNG.normal(size=(2, T, network.input_size)).astype(side.network.dtype)
        batch = Batch(FROM_H0, x, h0, c0 or None)
        jobs.append(Job(source, source, side.contents.path, side.reading, (batch,)))
    with Runners(Limits()) as runners:
        runners.submit(jobs)
        for job in jobs:
            trace, _ = runners.collect(job)
            ours, theirs = reference.run(job.reading.network, job.batches).runs[FROM_H0], trace.runs[FROM_H0]
            limit = 1e-12 if job.reading.network.dtype == np.float64 else 3e-6
            assert len(ours.c_n) == len(theirs.c_n)
            pairs = [
                (ours.y, theirs.y),
                *zip(ours.h_n, theirs.h_n, strict=True),
                *zip(ours.c_n, theirs.c_n, strict=True),
            ]
            if theirs.states:
                pairs += zip(ours.states, theirs.states, strict=True)
            assert max(float(np.abs(a - b).max()) for a, b in pairs) < limit, job.source


PADDED = ("mixed.pt#lstm+gru+rnn", "bidirectional.pt", "genuine/torch-1.6.0/gru_ra_cell/cell.pt", "rnn_legacy.pt")


def test_padded_sequences_end_where_they_do(fixtures: Path) -> None:
    jobs = []
    for name in PADDED:
        side = open_side(parse(f"{fixtures / name}", "A"))
        assert side.reading and side.contents and side.network
        given = np.array([3, 7, 1, 7])
        x = RNG.normal(size=(4, 7, side.network.input_size)).astype(np.float32)
        h0, c0 = (tuple(RNG.normal(size=(4, n)).astype(np.float32) for n in s) for s in side.network.state_sizes())
        both = (Batch(ZERO, x, lengths=given), Batch(FROM_H0, x, h0, c0 or None, lengths=given))
        jobs += [Job(f"{name} {b.name}", name, side.contents.path, side.reading, (b,)) for b in both]
    with Runners(Limits()) as runners:
        runners.submit(jobs)
        for job in jobs:
            trace, _ = runners.collect(job)
            assert lengths.padding_words(trace) == "zeros", job.label
            network = job.reading.network
            found = lengths.cut(trace, network).runs
            expected = reference.run(network, lengths.cut_batches(job.batches)).runs
            assert len(found) == len(expected) == 3
            for key, run in expected.items():
                pairs = [(run.y, found[key].y), *zip(run.h_n, found[key].h_n, strict=True)]
                pairs += zip(run.c_n, found[key].c_n, strict=True)
                assert max(float(np.abs(a - b).max()) for a, b in pairs) < 3e-6, (job.label, key)


def exchanged(array: Array, gates: int, a: int, b: int) -> Array:
    """`array` (G*H, ...) with two of its blocks exchanged."""
    blocks = list(np.split(array, gates))
    blocks[a], blocks[b] = blocks[b], blocks[a]
    return np.ascontiguousarray(np.concatenate(blocks))


@pytest.mark.parametrize(("cell", "a", "b"), [("gru", 0, 1), ("gru", 1, 2), ("lstm", 0, 1), ("lstm", 2, 3)])
def test_a_wrong_order_of_gates_is_different(tmp_path: Path, cell: CellKind, a: int, b: int) -> None:
    sound, wrong = tmp_path / "sound.safetensors", tmp_path / "wrong.safetensors"
    network = gated(cell)
    tensors = dict(lay_out(network, "torch", sound).tensors)
    save_file(tensors, sound)
    save_file({name: exchanged(array, len(tensors["bias_ih_l0"]) // 4, a, b) for name, array in tensors.items()}, wrong)
    result = rnnverify.compare(sound, wrong, sound, options=READ)
    assert [pair.verdict for pair in result.pairs] == ["DIFFERENT", "IDENTICAL"]


def test_the_merged_biases_of_a_gru_are_different_and_of_an_lstm_are_not(tmp_path: Path) -> None:
    for cell, verdicts in (("gru", {"DIFFERENT"}), ("lstm", {"EQUIVALENT", "IDENTICAL"})):
        sound, merged = tmp_path / f"{cell}.safetensors", tmp_path / f"{cell}_merged.safetensors"
        network = gated(cell, seed=1)  # type: ignore[arg-type]  # a kind of cell
        coarse = network.mapped(lambda w: (np.round(w * 2**10) / 2**10).astype(np.float32))  # sums are exact
        save_file(dict(lay_out(coarse, "torch", sound).tensors), sound)
        tensors = load_file(sound)
        tensors["bias_ih_l0"] += tensors["bias_hh_l0"]
        tensors["bias_hh_l0"] *= 0
        save_file(tensors, merged)
        (pair,) = rnnverify.compare(sound, merged, options=READ).pairs
        assert pair.verdict in verdicts


def test_a_mixed_stack_of_weights_borrows_what_its_graph_states(fixtures: Path) -> None:
    stack = "#lstm+gru+rnn"
    result = rnnverify.compare(f"{fixtures / 'mixed.pt'}{stack}", f"{fixtures / 'mixed.pt2'}{stack}", options=FEW)
    assert result.verdict == "IDENTICAL"
    assert result.sides[0].how.startswith("torch.nn.GRU, torch.nn.LSTM, torch.nn.RNN, loaded by torch.load")
    assert "borrowed from B" in result.sides[0].assumptions[0]


def test_an_option_sets_what_is_open_and_no_more(fixtures: Path) -> None:
    side = open_side(parse(f"{fixtures / 'mixed.pt'}#lstm+gru+rnn", "A"))
    for settled in (settle([side], Assumed(("relu",)))[0], settle([side], Assumed(("A=relu",)))[0]):
        assert settled.network
        assert [each.activation for each in settled.network.layers] == ["tanh", "tanh", "relu"]
    assumed = Options(inputs=FEW.inputs, assumed=Assumed(("relu",)))
    given = [f"{fixtures / 'mixed.pt'}#lstm+gru+rnn"] * 2
    assert rnnverify.compare(*given, options=assumed).verdict == "IDENTICAL"


def test_a_whole_module_is_made_by_torch(fixtures: Path) -> None:
    folder = fixtures / "genuine/torch-1.12.1/lstm_a_module"
    result = rnnverify.compare(folder / "model.pt", folder / "io.npz")
    assert result.verdict in ("IDENTICAL", "EQUIVALENT")
    assert "torch.nn.modules.rnn.LSTM allowed" in result.sides[0].how
