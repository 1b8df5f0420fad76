"""Biases of gated cells: on the wrong side of a reset gate, added at run time or not, or cut apart wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from rnnverify import gate_mistakes
from rnnverify.canonical import GATES, Array, CellKind, Direction, Network
from rnnverify.diagnosis.hypothesis import (
    Networks,
    Place,
    Seen,
    everywhere_and_apart,
    named,
    placed,
    side_by_side,
    with_words,
)
from rnnverify.diagnosis.shown_forget import forget_constants
from rnnverify.gate_mistakes import with_forget_bias

_FORGET = GATES["lstm"].index("f")
_USUAL = 1.0


def merged_outside_reset(network: Network, _: Seen) -> Networks:
    """the recurrent bias of the candidate is added to its input bias

    It stands inside of the reset gate, n = act(x W + b_in + r (h U + b_hn)), so the two cannot be added up: a small
    error at every step. Keep them apart.

    Keras: bias is (2, 3 H) with reset_after=True: input biases, then recurrent ones.
    PyTorch: the last H of bias_ih_l0 are b_in, those of bias_hh_l0 b_hn.
    TensorFlow: GRUCell has no b_hn; only a cuDNN cell can hold it.
    """
    # apple/coremltools#1124, tracel-ai/burn#2704
    yield from everywhere_and_apart(network, gate_mistakes.candidate_biases_merged)


def merged_inside_reset(network: Network, _: Seen) -> Networks:
    """the input bias of the candidate is added to its recurrent bias

    The reset gate then acts on all of it, n = act(x W + b_in + r (h U + b_hn)) holds b_in outside: a small error at
    every step. Keep the two apart.

    Keras: bias is (2, 3 H) with reset_after=True: input biases, then recurrent ones.
    PyTorch: the last H of bias_ih_l0 are b_in, those of bias_hh_l0 b_hn.
    TensorFlow: GRUCell has no b_hn; only a cuDNN cell can hold it.
    """
    # apple/coremltools#1124
    yield from everywhere_and_apart(network, gate_mistakes.candidate_biases_merged_inside)


def candidate_biases_swapped(network: Network, _: Seen) -> Networks:
    """input and recurrent bias are swapped

    The gates add them up and do not notice, the candidate does: its reset gate acts on one of them. Swap the two rows,
    or the two tensors.

    Keras: row 0 of bias holds the input biases, row 1 the recurrent ones.
    PyTorch: bias_ih_l0 is row 0 of Keras, bias_hh_l0 row 1.
    TensorFlow: the candidate of a cuDNN cell has input_projection and hidden_projection.
    """
    # majianjia/nnom#82, keras-team/keras#15915
    yield from everywhere_and_apart(network, gate_mistakes.candidate_biases_swapped)


def forget_bias_not_added(network: Network, seen: Seen) -> Networks:
    """the forget bias is not added

    Cells of TensorFlow 1 add it at every step, so no file holds it: the cell state decays too fast. Add it to the block
    of the forget gate, once.

    Keras: bias[H:2*H] += 1.
    PyTorch: bias_ih_l0[H:2*H] += 1.
    TensorFlow: forget_bias= of the cell is 1 by default.
    """
    # keras-team/keras#10179, tensorflow/tensorflow#29308
    yield from _forget_bias(network, seen, lower=True)


def forget_bias_added_twice(network: Network, seen: Seen) -> Networks:
    """the forget bias is added twice

    The bias that Keras and PyTorch store holds it already, and it was added once more: the cell state decays too
    slowly. Do not add it to a bias that was trained with it.

    Keras: unit_forget_bias is an initial value, part of the bias that is saved.
    PyTorch: bias_ih_l0 is all there is.
    TensorFlow: set forget_bias=0 for such a bias.
    """
    yield from _forget_bias(network, seen, lower=False)


def biases_cut_elsewhere(network: Network, _: Seen) -> Networks:
    """two biases are cut apart at the wrong places

    One array holds the input biases of all gates, then the recurrent ones, and it was split gate by gate, or as if it
    held one of them only. Cut it in two halves first, then each into gates.

    Keras: bias is the sum of the halves; for a GRU with reset_after they are its two rows.
    PyTorch: the first half of B is bias_ih_l0, the second bias_hh_l0.
    TensorFlow: bias is the sum of the halves.
    """
    # onnx/keras-onnx#98
    yield from with_words("gate by gate", everywhere_and_apart(network, lambda n: _each_gated(n, _pairwise)))
    cells = {layer.cell for layer in network.layers} - {"rnn"}
    for cell in sorted(cells):
        for chosen in product((0, 1), repeat=len(GATES[cell])):
            if len(set(chosen)) == 2:
                second = ", ".join(gate for gate, half in zip(GATES[cell], chosen, strict=True) if half)
                made = everywhere_and_apart(network, lambda n, c=cell, k=chosen: _mixed(n, c, k))  # type: ignore[misc]  # mypy infers no type for a lambda with a default
                yield from with_words(f"of {second} the second half, of the others the first", made)


def biases_reshaped(network: Network, _: Seen) -> Networks:
    """two biases are mixed by a reshape

    One array holds both, as two rows or as two columns, and it was reshaped from one to the other where it should be
    transposed: an offset from step 0 on. Transpose it.

    Keras: bias of GRU with reset_after is (2, 3 H): the input biases are row 0.
    PyTorch: bias_ih_l0 is one row or column of such an array, bias_hh_l0 the other.
    TensorFlow: only cells of cuDNN have two.
    """
    # keras-team/keras#15915, majianjia/nnom#82
    for change in (_columns_as_rows, _rows_as_columns):
        yield from everywhere_and_apart(network, lambda n, c=change: gate_mistakes.in_directions(n, "gru", c))  # type: ignore[misc]  # mypy infers no type for a lambda with a default


def _columns_as_rows(d: Direction) -> Direction:
    """An array (G H, 2) of both, reshaped to (2, G H)."""
    return _with_rows(d, np.stack([d.bias_input.ravel(), d.bias_recurrent.ravel()], axis=1).reshape(2, -1))


def _rows_as_columns(d: Direction) -> Direction:
    """An array (2, G H) of both, reshaped to (G H, 2)."""
    return _with_rows(d, np.concatenate([d.bias_input, d.bias_recurrent]).reshape(-1, 2).T)


def _with_rows(d: Direction, rows: Array) -> Direction:
    first, second = (row.reshape(d.bias_input.shape) for row in rows)
    return replace(d, bias_input=first, bias_recurrent=second)


def _each_gated(network: Network, change: object) -> Network | None:
    assert callable(change)
    changed: Network | None = None
    for cell in GATES:
        made = gate_mistakes.in_directions(changed or network, cell, change)
        changed = made or changed
    return changed


def _has_two(d: Direction) -> bool:
    return bool(np.any(d.bias_input) and np.any(d.bias_recurrent))


def _pairwise(d: Direction) -> Direction:
    """The 2 G blocks of both biases, each two that follow each other taken for those of one gate."""
    if not _has_two(d):
        return d
    blocks = np.concatenate([d.bias_input, d.bias_recurrent])
    return replace(d, bias_input=blocks[0::2], bias_recurrent=blocks[1::2])


def _mixed(network: Network, cell: CellKind, chosen: tuple[int, ...]) -> Network | None:
    def change(d: Direction) -> Direction:
        if not _has_two(d) or np.array_equal(d.bias_input, d.bias_recurrent):
            return d  # of equal halves any choice is one of them: the other is not loaded
        halves = (d.bias_input, d.bias_recurrent)
        mixed = np.stack([halves[half][gate] for gate, half in enumerate(chosen)])
        return replace(d, bias_input=mixed, bias_recurrent=np.zeros_like(mixed))

    return gate_mistakes.in_directions(network, cell, change)


def _forget_bias(network: Network, seen: Seen, lower: bool) -> Networks:
    """A constant taken from the biases of all forget gates, or added to them: 1, or what both files show."""
    sign = -1.0 if lower else 1.0
    made = everywhere_and_apart(
        network,
        lambda n: gate_mistakes.in_directions(n, "lstm", lambda d: with_forget_bias(d, sign * _USUAL)),
    )
    yield from made
    found, values = network, []
    for place, ours, value in _constants(network, seen):
        if value * sign > 0 and abs(value) != _USUAL:
            found = placed(found, place, with_forget_bias(ours, value))
            values.append(f"{named(network, place)}: {abs(value):.4g}")
    if values:
        yield ", ".join(values), found


def _constants(network: Network, seen: Seen) -> Iterator[tuple[Place, Direction, float]]:
    """By how much the forget gates of LSTMs are off on the other side, where that is one number."""
    if seen.network is None:
        shown = forget_constants(network, seen.runs)
        for (place, ours, _), value in zip(side_by_side(network, network), shown, strict=False):
            yield place, ours, value or 0.0
        return
    for place, ours, theirs in side_by_side(network, seen.network):
        if network.layers[place[0]].cell == "lstm":
            yield place, ours, _constant(ours.bias[_FORGET], theirs.bias[_FORGET])


def _constant(a: Array, b: Array) -> float:
    """c where b is a + c but for rounding to float32, else 0; to four digits, as people write it."""
    difference = b - a
    value = float(f"{np.median(difference):.4g}")
    size = np.maximum(np.maximum(np.abs(a), np.abs(b)), abs(value))
    return value if len(a) > 1 and bool(np.all(np.abs(difference - value) <= 2.0**-22 * size)) else 0.0
