"""Padded or masked steps that a side ran through, or left out otherwise: which steps it should have read is known.

A comparison leaves those steps out, so what was recorded with them is looked at here. The network is run by the wrong
mask, and what comes of it at the steps that count, and as final states, has to be what was recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rnnverify import reference
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.cells import State
from rnnverify.deviation import UNIT
from rnnverify.diagnosis.hypothesis import words
from rnnverify.diagnosis.runs import padding_not_masked
from rnnverify.finding import Finding
from rnnverify.lengths import Whole
from rnnverify.observed import Observed

Masks = tuple[Array, Array]
"""Which steps (B, T) a forward direction reads, and which a reverse one, both in the order of the input."""


def every_step(kept: Array) -> Masks:
    """All of them, padding too."""
    return np.ones_like(kept), np.ones_like(kept)


every_step.__doc__ = padding_not_masked.__doc__


def mask_not_turned(kept: Array) -> Masks:
    """the mask is not turned round with the sequence

    A reverse direction reads the sequence from its end, and the mask from its beginning: it leaves out other steps than
    it should. Turn the mask too.

    Keras: go_backwards=True and Bidirectional turn both; a layer of your own needs mask[:, ::-1].
    PyTorch: pack_padded_sequence turns each sequence within its length; x.flip(1) turns the padding to its front.
    TensorFlow: tf.reverse_sequence with lengths, not tf.reverse.
    """
    # keras-team/keras#1934
    return kept, kept[:, ::-1]


def mask_as_lengths(kept: Array) -> Masks:
    """a mask is taken for lengths

    Only the number of steps that count was carried over, and so many were read from the beginning: right where all
    padding is at the end, wrong where it is before or between. Move the padding to the end, or carry the mask over.
    """
    # onnx/tensorflow-onnx#2030, onnx/keras-onnx#400
    counted = np.arange(kept.shape[1]) < kept.sum(axis=1)[:, None]
    return counted, counted


MASKS: tuple[Callable[[Array], Masks], ...] = (every_step, mask_not_turned, mask_as_lengths)


def by_masks(network: Network, shown: Observed, before: float | None) -> list[Finding]:
    """The wrong mask that explains what `shown` recorded of sequences with steps to be left out."""
    off = [whole for whole in shown.whole if _left(network, whole, (whole.kept, whole.kept), shown.arithmetic) is None]
    for mask in MASKS if off else ():
        left = [_left(network, whole, mask(whole.kept), shown.arithmetic) for whole in off]
        known = [each for each in left if each is not None]
        if len(known) == len(left):
            name, advice = words(mask)
            return [Finding(name, advice, "confirmed", before, max(known), "", shown.label)]
    return []


def _left(network: Network, whole: Whole, masks: Masks, dtype: str) -> float | None:
    """The largest deviation of `whole` to what `network` computes by `masks`; None where it is beyond the rule."""
    if len(network.layers) > 1 and not np.array_equal(*masks):
        return None  # what a layer reads at steps that only one direction below has is a convention
    run = whole.run
    starts = reference.initial_states(network, run.batch)
    x: Array = run.batch.x
    finals: list[State] = []
    for layer in network.layers:
        made = [_direction(layer, d, x, next(starts), masks[d.reverse]) for d in layer.directions]
        parts = [y for y, _, _ in made]
        x = parts[0] if len(parts) == 1 else reference.merge(layer.merge, parts)
        finals += [state for _, _, state in made]
    seen = np.logical_and.reduce([read for _, read, _ in made])
    turned = not network.layers[-1].time_restored and network.layers[-1].directions[0].reverse
    seen &= whole.kept[:, ::-1] if turned else whole.kept
    h, c = [s[0] for s in finals], [s[1] for s in finals if len(s) > 1]
    off = [np.abs(x - run.y)[seen].ravel()]
    for ours, theirs in ((h, run.h_n), (c, run.c_n)):
        if [a.shape for a in ours] == [b.shape for b in theirs]:
            off += [np.abs(a - b).ravel() for a, b in zip(ours, theirs, strict=True)]
    largest = float(np.max(np.concatenate(off), initial=0.0))
    size = max([1.0, float(np.max(np.abs(run.y))), *(float(np.max(np.abs(each))) for each in run.c_n)])
    return largest if largest <= UNIT[dtype] * size else None


def _direction(layer: Layer, d: Direction, x: Array, start: State, mask: Array) -> tuple[Array, Array, State]:
    """The outputs (B, T, P) as emitted of the steps in `mask` (B, T), where they are, and the state after the last."""
    seen, read = (x[:, ::-1], mask[:, ::-1]) if d.reverse else (x, mask)
    alone = replace(layer, directions=(replace(d, reverse=False),))
    y = np.zeros((*x.shape[:2], d.state_size))
    final = tuple(np.array(state) for state in start)
    patterns, which = np.unique(read, axis=0, return_inverse=True)
    for k, pattern in enumerate(patterns):
        rows, steps = np.flatnonzero(which.ravel() == k), np.flatnonzero(pattern)
        if len(steps):
            (part,), (last,) = reference.run_layer(alone, seen[rows][:, steps], [tuple(s[rows] for s in start)])
            y[rows[:, None], steps] = part
            for whole, some in zip(final, last, strict=True):
                whole[rows] = some
    turned = d.reverse and layer.time_restored
    return (y[:, ::-1], read[:, ::-1], final) if turned else (y, read, final)
