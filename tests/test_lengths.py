"""Padded batches are cut to the steps that count, whatever stands behind them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import batches, bidirectional, mixed, networks, single, stacked

from rnnverify import lengths, reference
from rnnverify.canonical import Array, Network
from rnnverify.errors import FileError, InputsError
from rnnverify.inputs import InputOptions, make_batches
from rnnverify.trace import LENGTHS, ZERO, Batch, Run, Trace
from rnnverify.trace_file import load, save


def padded(network: Network, given: Array, fill: float = 0.0, T: int = 5) -> tuple[Batch, Trace]:
    """Sequences of `given` lengths, and what a framework makes of them that puts `fill` behind the end of each."""
    x = np.random.default_rng(0).normal(size=(len(given), T, network.input_size)).astype(np.float32)
    batch = Batch(LENGTHS, x, lengths=given)
    y = np.full((len(given), T, network.output_size), fill, np.float32)
    sizes, cells = network.state_sizes()
    h_n, c_n = ([np.zeros((len(given), size), np.float32) for size in each] for each in (sizes, cells))
    shown = [np.full((len(given), T, size), fill, np.float32) for size in sizes]
    for k, length in enumerate(given):
        (run,) = reference.run(network, [Batch(ZERO, x[k : k + 1, :length])]).runs.values()
        at = slice(length) if network.layers[-1].time_restored else slice(T - length, T)
        y[k, at] = run.y[0]
        for ours, theirs in ((h_n, run.h_n), (c_n, run.c_n)):
            for state, last in zip(ours, theirs, strict=True):
                state[k] = last[0]
        for states, each in zip(shown, run.states, strict=False):
            states[k, at] = each[0]
    return batch, Trace({LENGTHS: Run(batch, y, tuple(h_n), tuple(shown) if len(sizes) > 1 else (), tuple(c_n))})


@given(
    network=st.one_of(networks().filter(lambda n: len(n.layers) == 1), st.just(mixed()), st.just(stacked(3, [4, 2]))),
    given=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    fill=st.sampled_from([0.0, 7.0, np.nan]),
)
def test_what_is_cut_is_what_the_sequences_give_by_themselves(network: Network, given: list[int], fill: float) -> None:
    batch, trace = padded(network, np.array(given), fill)
    found = lengths.cut(trace, network).runs
    assert [run.batch.x.shape[1] for run in found.values()] == sorted(set(given), reverse=True)
    assert sum(len(run.y) for run in found.values()) == len(given)
    for name, run in reference.run(network, lengths.cut_batches([batch])).runs.items():
        pairs = [(run.y, found[name].y), *zip(run.h_n, found[name].h_n, strict=True)]
        pairs += [*zip(run.c_n, found[name].c_n, strict=True), *zip(run.states, found[name].states, strict=True)]
        assert all(np.allclose(ours, theirs, rtol=0, atol=1e-5 * max(1, np.abs(ours).max())) for ours, theirs in pairs)


def test_other_batches_stay_as_they_are() -> None:
    network = single()
    given = batches(network)
    trace = reference.run(network, given)
    assert lengths.cut_batches(given) == given and lengths.cut(trace, network).runs == trace.runs


@pytest.mark.parametrize(("fill", "words"), [(0.0, "zeros"), (7.0, "")])
def test_what_stands_behind_the_end_is_said(fill: float, words: str) -> None:
    assert lengths.padding_words(padded(single(), np.array([5, 2]), fill)[1]) == words
    assert lengths.padding_words(padded(single(), np.array([5, 5]), fill)[1]) == ""
    _, trace = padded(single(), np.array([5, 2]))
    y = trace.runs[LENGTHS].y.copy()
    y[1, 2:] = y[1, 1]
    again = Trace({LENGTHS: replace(trace.runs[LENGTHS], y=y)})
    assert lengths.padding_words(again) == "its last output again"


def test_a_backward_layer_among_others_is_refused() -> None:
    lengths.check(stacked(3, [4, 2]), "a.h5")
    network = stacked(3, [4, 2])
    backward = replace(network.layers[0], time_restored=False)
    with pytest.raises(InputsError, match=r"a\.h5 has a backward layer beside others.*leave out --lengths"):
        lengths.check(replace(network, layers=(backward, network.layers[1])), "a.h5")


def test_lengths_come_again_and_again() -> None:
    options = InputOptions(sequences=5, steps=6, lengths=(6, 2))
    *_, batch = make_batches(options, single())
    assert batch.name == LENGTHS and batch.lengths is not None and batch.lengths.tolist() == [6, 2, 6, 2, 6]
    with pytest.raises(InputsError, match=r"--lengths 7,2: wanted lengths from 1 to the 6 of --steps"):
        InputOptions(steps=6, lengths=(7, 2))
    with pytest.raises(InputsError, match="wanted lengths from 1"):
        InputOptions(steps=6, lengths=(0,))


def test_a_file_of_inputs_may_bring_them(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.ones((2, 4, 3)), lengths=np.array([4, 1]))
    *_, batch = make_batches(InputOptions(file=path), bidirectional())
    assert batch.lengths is not None and batch.lengths.tolist() == [4, 1]
    for wrong in (np.array([4, 5]), np.array([4.0, 1.0]), np.array([4]), np.array([0, 1])):
        np.savez(path, x=np.ones((2, 4, 3)), lengths=wrong)
        with pytest.raises(FileError, match="wanted whole numbers from 1 to 4, one for each of 2 sequences"):
            make_batches(InputOptions(file=path), bidirectional())


def test_a_trace_keeps_them(tmp_path: Path) -> None:
    network = mixed()
    batch, trace = padded(network, np.array([5, 2, 3]))
    plain = reference.run(network, [Batch(ZERO, batch.x)])
    save(Trace({**plain.runs, **trace.runs}), tmp_path / "t.npz")
    found = load(tmp_path / "t.npz").runs[LENGTHS]
    assert found.batch.fingerprint() == batch.fingerprint() != Batch(LENGTHS, batch.x).fingerprint()
    assert np.array_equal(found.y, trace.runs[LENGTHS].y) and len(found.h_n) == 4 and len(found.c_n) == 2


def test_outputs_of_the_last_step_are_those_of_each_sequence() -> None:
    network = single()
    _, trace = padded(network, np.array([5, 2, 3]))
    run = replace(trace.runs[LENGTHS], model_out=np.arange(3.0).reshape(3, 1, 1))
    found = lengths.cut(Trace({LENGTHS: run}), network).runs.values()
    assert [each.model_out.ravel().tolist() for each in found if each.model_out is not None] == [[0.0], [2.0], [1.0]]
    every = lengths.cut(Trace({LENGTHS: replace(run, model_out=run.y)}), network).runs.values()
    assert all(each.model_out is not None and np.array_equal(each.y, each.model_out) for each in every)
