"""Mistakes that people reported of how a network with gates is run, each in a recording: its cause comes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import engines
import numpy as np
import pytest
from gated_files import keras_model, torch
from known_gated import SHAPES
from networks import batches

import rnnverify
from rnnverify.canonical import Array, CellKind, Direction, Merge, Network
from rnnverify.options import Options
from rnnverify.trace import LENGTHS, ZERO, Batch, Run, Trace
from rnnverify.trace_file import save

Remade = Callable[[Network, Batch, Batch], Sequence[Run]]
"""From a right network, a batch from zeros and one from states, to what was recorded."""


def ran(n: Network, batch: Batch) -> Run:
    return engines.run(n, [batch], "naive").runs[batch.name]


def outputs(change: Callable[[Array], Array]) -> Remade:
    """Right runs, with something done to their outputs."""

    def remade(n: Network, zero: Batch, _: Batch) -> list[Run]:
        run = ran(n, zero)
        return [Run(zero, np.ascontiguousarray(change(run.y)))]

    return remade


def swapped(n: Network, zero: Batch, _: Batch) -> list[Run]:
    return [Run(zero, np.ascontiguousarray(ran(n, Batch(ZERO, zero.x.swapaxes(0, 1))).y.swapaxes(0, 1)))]


def viewed(n: Network, zero: Batch, _: Batch) -> list[Run]:
    B, T, I = zero.x.shape
    run = ran(n, Batch(ZERO, zero.x.reshape(T, B, I).swapaxes(0, 1)))
    return [Run(zero, run.y, (), run.states)]


def not_chained(n: Network, zero: Batch, _: Batch) -> list[Run]:
    parts = [ran(Network((layer,)), zero) for layer in n.layers]
    return [Run(zero, parts[-1].y, (), tuple(state for part in parts for state in (part.states or (part.y,))))]


def not_chained_outputs(n: Network, zero: Batch, _: Batch) -> list[Run]:
    return [Run(zero, ran(Network(n.layers[-1:]), zero).y)]


def not_turned_back(n: Network, zero: Batch, from_h0: Batch) -> list[Run]:
    other = Network(tuple(replace(layer, time_restored=False) for layer in n.layers))
    return [ran(other, batch) for batch in (zero, from_h0)]


def last_for_final(n: Network, zero: Batch, _: Batch) -> list[Run]:
    run, P = ran(n, zero), n.layers[-1].state_size
    return [replace(run, h_n=(*run.h_n[:-1], run.y[:, -1, P:]))]


def axes_as_they_stand(y: Array) -> Array:
    """Y (T, directions, B, H) of ONNX, reshaped to (T, B, 2 H)."""
    B, T, F = y.shape
    return np.asarray(y.reshape(B, T, 2, F // 2).transpose(1, 2, 0, 3).reshape(T, B, F).swapaxes(0, 1))


def interleaved(y: Array) -> Array:
    return np.asarray(y.reshape(*y.shape[:2], 2, -1).swapaxes(2, 3).reshape(y.shape))


def dropped(y: Array) -> Array:
    kept = np.random.default_rng(0).uniform(size=y.shape) < 0.8
    return np.asarray(np.where(kept, y / np.float32(0.8), np.float32(0)))


def carried(n: Network, zero: Batch, _: Batch) -> list[Run]:
    first = ran(n, zero)
    return [replace(ran(n, replace(zero, h0=first.h_n, c0=first.c_n or None)), batch=zero)]


def one_after_the_other(n: Network, zero: Batch, _: Batch) -> list[Run]:
    last: Run | None = None
    found = []
    for x in zero.x:
        start = (last.h_n, last.c_n or None) if last else (None, None)
        last = ran(n, Batch(ZERO, x[None], *start))
        found.append(last.y)
    return [Run(zero, np.concatenate(found))]


def started_elsewhere(n: Network, zero: Batch, from_h0: Batch) -> list[Run]:
    return [replace(ran(n, replace(zero, h0=from_h0.h0, c0=from_h0.c0)), batch=zero)]


def exchanged(n: Network, zero: Batch, from_h0: Batch) -> list[Run]:
    other = replace(from_h0, h0=from_h0.c0, c0=from_h0.h0)
    return [ran(n, zero), replace(ran(n, other), batch=from_h0)]


def sigmoid(v: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-v)), v.dtype)


def forget_bias_behind(lower: float) -> Remade:
    """f = sigmoid(v) + 1 for sigmoid(v + 1); `lower` is what the bias of the right network holds of it."""

    def one(d: Direction, x: Array) -> Array:
        h, c, states = np.zeros((len(x), d.hidden_size), np.float32), np.float32(0), []
        bias = d.bias.astype(np.float32)
        for t in range(x.shape[1])[:: -1 if d.reverse else 1]:
            i, f, g, o = (x[:, t] @ d.kernel[k] + bias[k] + h @ d.recurrent_kernel[k] for k in range(4))
            c = (sigmoid(f - np.float32(lower)) + np.float32(1)) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            states.append(h)
        return np.stack(states[:: -1 if d.reverse else 1], axis=1)

    def remade(n: Network, zero: Batch, _: Batch) -> list[Run]:
        x, states = zero.x, []
        for layer in n.layers:
            parts = [one(d, x) for d in layer.directions]
            states += parts
            x = np.concatenate(parts, axis=2)
        return [Run(zero, x, (), tuple(states) if len(states) > 1 else ())]

    return remade


PADDED = np.array([5, 3, 9, 7])


def padded(zero: Batch) -> Batch:
    x = zero.x.copy()
    for row, length in zip(x, PADDED, strict=True):
        row[length:] = 0
    return Batch(LENGTHS, x, lengths=PADDED)


def run_through(n: Network, zero: Batch, _: Batch) -> list[Run]:
    batch = padded(zero)
    return [ran(n, zero), replace(ran(n, Batch(ZERO, batch.x)), batch=batch)]


def by_lengths(n: Network, batch: Batch, first: bool = True) -> Run:
    """Each sequence by itself, its steps read from the first, or those at its end."""
    T, parts = batch.x.shape[1], []
    for x, length in zip(batch.x, PADDED, strict=True):
        steps = slice(0, length) if first else slice(T - length, T)
        run = ran(n, Batch(ZERO, x[None, steps]))
        y = np.zeros((1, T, run.y.shape[2]), np.float32)
        y[:, steps] = run.y
        parts.append(replace(run, y=y))
    finals = [tuple(map(np.concatenate, zip(*(getattr(p, key) for p in parts), strict=True))) for key in ("h_n", "c_n")]
    return Run(batch, np.concatenate([part.y for part in parts]), finals[0], (), finals[1])


def mask_not_turned(n: Network, zero: Batch, _: Batch) -> list[Run]:
    batch, (layer,) = padded(zero), n.layers
    forward, reverse = (
        by_lengths(Network((replace(layer, directions=(d,)),)), batch, first=not d.reverse) for d in layer.directions
    )
    y = np.concatenate([forward.y, reverse.y], axis=2)
    return [ran(n, zero), Run(batch, y, forward.h_n + reverse.h_n, (), forward.c_n + reverse.c_n)]


def merged_by(merge: Merge) -> Remade:
    def remade(n: Network, zero: Batch, from_h0: Batch) -> list[Run]:
        other = Network(tuple(replace(layer, merge=merge) for layer in n.layers))
        return [ran(other, batch) for batch in (zero, from_h0)]

    return remade


def read_by_counts(n: Network, zero: Batch, _: Batch) -> list[Run]:
    """As many steps as count, read from the first on, where those that count are in between."""
    x, counts = gaps(zero.x)
    y = np.zeros((*x.shape[:2], n.output_size), np.float32)
    for k, count in enumerate(counts):
        y[k, :count] = ran(n, Batch(ZERO, x[k : k + 1, :count])).y[0]
    return [Run(replace(zero, x=x), y)]


def gaps(x: Array) -> tuple[Array, Array]:
    """x (B, T, I) with some of its steps all zeros, and how many are not."""
    stays = np.ones(x.shape[:2], bool)
    stays[:, 0] = stays[:, 3] = False
    stays[1, 5:] = False
    return x * stays[..., None], stays.sum(axis=1)


@dataclass(frozen=True)
class Known:
    """One mistake, in the shapes in which it is made."""

    remade: Remade
    wanted: str
    shapes: Sequence[str] = ("one", "stack", "both")
    cells: Sequence[CellKind] = ("gru", "lstm")
    write: Callable[[Network, Path], str] = torch  # the right side


def masking(n: Network, path: Path) -> str:
    return keras_model(n, path, masking=True)


def shape_of(shape: str, cell: CellKind) -> Network:
    if shape != SUMMED:
        return SHAPES[shape](cell)
    (layer,) = SHAPES["both"](cell).layers
    return Network((replace(layer, merge="sum"),))


SUMMED = "both, summed"
BOTH = ("both", "both, stack")
CARRIED = "the state is carried over from the sequence before"
CHAINED = "every layer reads the input, not the layer below"
BEHIND = "the forget bias is added after the sigmoid"
LSTM: tuple[CellKind, ...] = ("lstm",)
KNOWN: Mapping[str, Known] = {
    "layer_input_not_chained": Known(not_chained, CHAINED, ("stack", "both, stack")),
    "layer_input_not_chained, outputs": Known(not_chained_outputs, CHAINED, ("stack", "both, stack")),
    "sequence_reversed_or_go_backwards_ignored, outputs": Known(
        outputs(lambda y: y[:, ::-1]), "the outputs are turned round in time"
    ),
    "backward_outputs_not_rereversed": Known(
        not_turned_back, "the outputs of a backward run are not turned back in time", BOTH
    ),
    "bidirectional_last_step_instead_of_final_state": Known(
        last_for_final, "the final state of the reverse direction is taken from the last step", BOTH
    ),
    "last_output_vs_all_outputs": Known(
        outputs(lambda y: np.repeat(y[:, -1:], y.shape[1], axis=1)), "every step holds the output of the last"
    ),
    "bidirectional_merge_mode": Known(
        merged_by("ave"), "the two directions are merged in another way", (SUMMED,), write=keras_model
    ),
    "bidirectional_merge_mode, mul": Known(
        merged_by("mul"), "the two directions are merged in another way", (SUMMED,), write=keras_model
    ),
    "mask_as_sequence_lens": Known(read_by_counts, "a mask is taken for lengths", ("one", "both"), write=masking),
    "direction_axis_layout": Known(outputs(interleaved), "the outputs of the two directions are interleaved", BOTH),
    "direction_axis_layout, H before D": Known(
        outputs(axes_as_they_stand), "the outputs of the two directions are interleaved", BOTH
    ),
    "batch_time_swapped": Known(swapped, "batch and time are swapped", ("one", "stack", *BOTH)),
    "layout_view_instead_of_transpose": Known(viewed, "x is reshaped to (T, B, I) where it should be transposed"),
    "activation_missing_or_doubled": Known(
        outputs(np.tanh), "the activation is applied twice to the outputs", ("one", "stack", *BOTH)
    ),
    "stateful_carry_over": Known(carried, CARRIED),
    "stateful_carry_over, one by one": Known(one_after_the_other, CARRIED),
    "initial_state_nonzero_or_random": Known(
        started_elsewhere, "the initial state is not zero", ("one", "one bias", "stack", *BOTH)
    ),
    "initial_state_order_hc": Known(exchanged, "the initial states h and c are exchanged", cells=LSTM),
    "training_mode_dropout": Known(outputs(dropped), "dropout is active"),
    "forget_bias_after_sigmoid": Known(forget_bias_behind(1.0), BEHIND, ("one", "stack", *BOTH), LSTM),
    "forget_bias_after_sigmoid, beside": Known(forget_bias_behind(0.0), BEHIND, cells=LSTM),
    "zero_padding_without_masking": Known(
        run_through, "padded steps are masked on one side only", ("one", "stack", *BOTH)
    ),
    "mask_not_reversed_with_go_backwards": Known(
        mask_not_turned, "the mask is not turned round with the sequence", ("both",)
    ),
}
"""By the name of the report."""

CASES = [
    pytest.param(known, cell, shape, id=f"{name}-{cell}-{shape}")
    for name, known in KNOWN.items()
    for cell in known.cells
    for shape in known.shapes
]


def compared(
    right: Network, runs: Sequence[Run], path: Path, write: Callable[[Network, Path], str] = torch
) -> rnnverify.Comparison:
    trace = path / "wrong.npz"
    save(Trace({run.batch.name: run for run in runs}), trace)
    return rnnverify.compare(write(right, path / "right"), str(trace), options=Options(engine="reference"))


@pytest.mark.parametrize(("known", "cell", "shape"), CASES)
def test_the_cause_is_named(known: Known, cell: CellKind, shape: str, tmp_path: Path) -> None:
    right = shape_of(shape, cell)
    zero, from_h0 = batches(right, 4, 9)
    result = compared(right, known.remade(right, zero, from_h0), tmp_path, known.write)
    assert result.verdict == "DIFFERENT"
    (finding,) = result.pairs[0].findings
    assert (finding.name, finding.side, finding.proof) == (known.wanted, "B", "confirmed")
    assert finding.after is not None and finding.after <= 2e-6


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("shape", ["one", "stack", "both", "both, stack"])
@pytest.mark.parametrize("held", ["zeros", "repeated"])
def test_a_right_run_of_padded_sequences_gets_no_cause(cell: CellKind, shape: str, held: str, tmp_path: Path) -> None:
    right = SHAPES[shape](cell)
    zero, _ = batches(right, 4, 9)
    run = by_lengths(right, padded(zero))
    for y, length in zip(run.y, PADDED if held == "repeated" else (), strict=False):
        y[length:] = y[length - 1]
    result = compared(right, [ran(right, zero), run], tmp_path)
    assert result.verdict == "EQUIVALENT" and result.pairs[0].findings == ()
