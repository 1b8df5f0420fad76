"""The order of time, of units, of features: right numbers in the wrong places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnverify import symmetry
from rnnverify.activations import activation as activation_of
from rnnverify.canonical import Array, Direction, Network
from rnnverify.diagnosis.by_behaviour import steps_at
from rnnverify.diagnosis.hypothesis import Networks, Seen, layered, named, placed, side_by_side, with_tensor


def time_reversed(network: Network, _: Seen) -> Networks:
    """a sequence is read from the wrong end

    go_backwards was lost, or added: the states belong to the sequence turned round. Set go_backwards as it was, or
    feed x.flip(1); Keras returns the outputs of a go_backwards layer in the order of processing.
    """
    # apache/tvm#15829
    for k, layer in enumerate(network.layers):
        if not layer.bidirectional:
            (d,) = layer.directions
            for restored in (True,) if d.reverse else (False, True):  # forwards, nothing is there to be turned back
                turned = replace(layer, directions=(replace(d, reverse=not d.reverse),), time_restored=restored)
                yield (f"layer {k}" if len(network.layers) > 1 else ""), layered(network, k, turned)


def not_turned_back(network: Network, _: Seen) -> Networks:
    """the outputs of a backward run are not turned back in time

    Keras' go_backwards and hand-written loops emit them in the order of processing, Bidirectional, PyTorch, ONNX and
    TensorFlow in that of the input. Turn the backward half before concatenating it: y_bw[:, ::-1].
    """
    # onnx/keras-onnx#523, onnx/onnx#2881, tensorflow/tensorflow#40345, keras-team/keras#1703
    for k, layer in enumerate(network.layers):
        if any(d.reverse for d in layer.directions):
            changed = replace(layer, time_restored=not layer.time_restored)
            yield (f"layer {k}" if len(network.layers) > 1 else ""), layered(network, k, changed)


def units_in_another_order(network: Network, seen: Seen) -> Networks:
    """the hidden units are in another order, or of another sign or scale

    The same function, written differently: all tensors agree with each other. A layer that reads these outputs is
    right only if its rows are changed alike. Change the rows of its kernel so, or undo it here.
    """
    found = _by_first_steps(network, seen) if seen.network is None else None
    if found is None and seen.likely is not None:
        found = symmetry.find(network, seen.likely)
    if found and not found.is_trivial:
        yield str(found), symmetry.applied(network, found)


def _by_first_steps(network: Network, seen: Seen) -> symmetry.Symmetry | None:
    """The symmetry that the first step of every sequence shows: from zeros, recurrent kernels have no part in it."""
    run = next((run for run in seen.runs if run.batch.h0 is None), seen.runs[0])
    sequences = np.arange(len(run.y))
    steps = steps_at(network, run, sequences, np.zeros_like(sequences))
    if steps is None:
        return None
    given = iter(steps)

    def match(k: int, _: int, ours: Direction) -> symmetry.Matched | None:
        activation = network.layers[k].activation
        terms, h = next(given)
        weights = np.concatenate([ours.kernel[0], ours.recurrent_kernel[0]]).astype(np.float64)
        return symmetry.matched(activation_of(activation)(terms @ weights + ours.bias[0]), h, activation)

    return symmetry.find_by(network, match)


def rows_in_another_order(network: Network, seen: Seen) -> Networks:
    """the rows of a kernel are in another order

    A row belongs to one input feature (kernel) or one unit of the state before (recurrent kernel), and here they are
    mixed up. Bring the features, or units, into the order of training wherever they are read.
    """
    yield from _shuffled(network, seen, axis=1)


def columns_in_another_order(network: Network, seen: Seen) -> Networks:
    """the columns of a tensor are in another order

    One column belongs to one hidden unit, so kernel, recurrent kernel and bias must have one order: in this tensor it
    is another. Permute all of them alike, the recurrent kernel in its rows and in its columns.
    """
    yield from _shuffled(network, seen, axis=2)


_NAMES = (("kernel", "kernel"), ("recurrent_kernel", "recurrent kernel"))


def _shuffled(network: Network, seen: Seen, axis: int) -> Networks:
    if seen.likely is None:
        return
    kind = "rows" if axis == 1 else "columns"
    for place, ours, theirs in side_by_side(network, seen.likely):
        for name, words in _NAMES:
            a, b = (np.moveaxis(getattr(d, name)[0], axis - 1, 0) for d in (ours, theirs))
            order = order_of(a, b)
            if order is not None:
                changed = with_tensor(ours, name, np.take(getattr(ours, name), order, axis=axis))
                yield (
                    f"{named(network, place)} {words}, {kind} {symmetry.brief(order)}",
                    placed(network, place, changed),
                )
        order = order_of(ours.bias.T, theirs.bias.T) if axis == 2 else None
        if order is not None:
            mixed = replace(ours, bias_input=ours.bias_input[:, order], bias_recurrent=ours.bias_recurrent[:, order])
            yield f"{named(network, place)} bias, {symmetry.brief(order)}", placed(network, place, mixed)


def order_of(a: Array, b: Array) -> list[int] | None:
    """The order in which the rows of a (n, m) are nearest to those of b (n, m); None where they stand as they are.

    None, too, where two rows have the same nearest, or the nearest is not near.
    """
    if a.shape != b.shape or len(a) < 2:
        return None
    told = np.isfinite(b).all(axis=0)
    a, b = a[:, told].astype(np.float64), b[:, told].astype(np.float64)
    if not told.any():
        return None
    distance = (a * a).sum(axis=1)[:, None] - 2 * a @ b.T  # (n, n); the term of b alone changes nothing
    order = [int(k) for k in np.argmin(distance, axis=0)]
    if sorted(order) != list(range(len(a))) or order == sorted(order):
        return None
    return order if np.abs(a[order] - b).max() <= 0.05 * np.abs(b).max() else None
