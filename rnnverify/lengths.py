"""Sequences of different length in one batch: run padded, compared on their own steps.

Every framework pads a batch to its longest sequence and is told the lengths: by a mask in Keras, a packed sequence in
PyTorch, `sequence_length` in TensorFlow, `sequence_lens` in ONNX. What it hands out beyond the end of a sequence is a
convention, and no result: the padded run is cut into one for each length, of the sequences that have it, and those are
held against each other like any other. Final states are those after a sequence's own last step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np

from rnnverify.canonical import Array, Network
from rnnverify.errors import InputsError
from rnnverify.trace import Batch, Run, Trace


@dataclass(frozen=True)
class Whole:
    """A run with its padded or masked steps, and which of them count."""

    run: Run
    kept: Array  # (B, T) bool


def wholes(trace: Trace) -> tuple[Whole, ...]:
    """The runs of `trace` that hold sequences shorter than the batch."""
    padded = [(run, run.batch.lengths) for run in trace.runs.values()]
    found = (Whole(run, np.arange(run.y.shape[1]) < n[:, None]) for run, n in padded if n is not None)
    return tuple(whole for whole in found if not whole.kept.all())


def cut_batches(batches: Sequence[Batch]) -> tuple[Batch, ...]:
    """`batches`, with those of different lengths as one for each length."""
    return tuple(part for batch in batches for part, _ in _parts(batch))


def cut(trace: Trace, network: Network | None) -> Trace:
    """`trace` likewise; `network` is what was run, None where that is not known."""
    runs: dict[str, Run] = {}
    for run in trace.runs.values():
        for part, rows in _parts(run.batch):
            runs[part.name] = run if rows is None else _of(run, part, rows, network)
    return replace(trace, runs=runs)


def check(network: Network, source: str) -> None:
    """InputsError where the padded steps of a layer cannot be told from others.

    A backward layer that hands its outputs on as it processed them has its padding first, and Keras masks the layer
    above as if it were last.
    """
    if len(network.layers) > 1 and not all(layer.time_restored for layer in network.layers):
        found = f"{source} has a backward layer beside others, and hands its outputs on in the order of processing"
        raise InputsError(f"{found}: sequences of different length cannot be compared there; leave out --lengths")


def padding_words(trace: Trace) -> str:
    """What a side puts behind the end of a sequence; empty where nothing was padded, or there is no rule to see."""
    for run in trace.runs.values():
        lengths = run.batch.lengths
        if lengths is None or int(lengths.min()) == run.y.shape[1]:
            continue
        short = [k for k, length in enumerate(lengths) if length < run.y.shape[1]]
        behind = [(run.y[k, int(lengths[k]) - 1], run.y[k, int(lengths[k]) :]) for k in short]
        if all(not values.any() for _, values in behind):
            return "zeros"
        if all(np.array_equal(values, np.broadcast_to(last, values.shape)) for last, values in behind):
            return "its last output again"
    return ""


def _parts(batch: Batch) -> Iterator[tuple[Batch, Array | None]]:
    """One batch for each length, the longest first, and which sequences it has; None where a batch has no lengths."""
    if batch.lengths is None:
        yield batch, None
        return
    for length in sorted(set(batch.lengths.tolist()), reverse=True):
        rows = np.flatnonzero(batch.lengths == length)
        starts = batch.starting(itemgetter(rows))
        yield replace(starts, name=f"length {length}", x=batch.x[rows, :length], lengths=None), rows


def _of(run: Run, part: Batch, rows: Array, network: Network | None) -> Run:
    """The sequences `rows` of a padded run, without their padding."""
    T, length = run.y.shape[1], part.x.shape[1]
    first = network is None or network.layers[-1].time_restored
    steps = slice(length) if first else slice(T - length, T)  # padding comes first where time was not turned back
    h_n, c_n = (tuple(state[rows] for state in finals) for finals in (run.h_n, run.c_n))
    states, made = tuple(each[rows, steps] for each in run.states), run.model_out
    if made is not None:  # of the last step alone, that is a sequence's own last
        made = made[rows] if made.shape[1] == 1 else made[rows, steps]
    return Run(part, run.y[rows, steps], h_n, states, c_n, made)
