"""The order of time, of units, of features: right numbers in the wrong places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnverify import reference, symmetry
from rnnverify.canonical import Array, Direction, Network
from rnnverify.cells import State, recurrence
from rnnverify.diagnosis.by_behaviour import steps_at
from rnnverify.diagnosis.hypothesis import Networks, Seen, layered, named, placed, side_by_side, with_tensor
from rnnverify.trace import Run


def time_reversed(network: Network, _: Seen) -> Networks:
    """a sequence is read from the wrong end

    A direction of time was lost, or added: the states belong to the sequence turned round. Turn the input round, and
    look at the order of the outputs too.

    Keras: set go_backwards as it was; its outputs come in the order of processing.
    PyTorch: feed x.flip(1), and turn the output with y.flip(1).
    TensorFlow: feed tf.reverse(x, [1]), and turn the output alike.
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

    A backward run emits its outputs in the order of processing or in that of the input, and the two were taken for each
    other. Turn the backward half in time before it is used.

    Keras: Bidirectional turns it back, a layer with go_backwards=True does not: outputs[:, ::-1].
    PyTorch: nn.RNN turns it back; a loop of your own needs y.flip(1).
    TensorFlow: bidirectional_dynamic_rnn turns it back; else tf.reverse(y, [1]).
    """
    # onnx/keras-onnx#523, onnx/onnx#2881, tensorflow/tensorflow#40345, keras-team/keras#1703
    for k, layer in enumerate(network.layers):
        if any(d.reverse for d in layer.directions):
            changed = replace(layer, time_restored=not layer.time_restored)
            yield (f"layer {k}" if len(network.layers) > 1 else ""), layered(network, k, changed)


def units_in_another_order(network: Network, seen: Seen) -> Networks:
    """the hidden units are in another order, or of another sign or scale

    The same function, written differently: all tensors agree with each other. What reads these outputs is right only if
    the rows of its kernel are changed alike. Change these, or undo it here.
    """
    found = _by_first_steps(network, seen) if seen.network is None else None
    likely = seen.likely(network) if found is None else None
    if likely:
        found = symmetry.find(network, likely)
    if found and not found.is_trivial:
        yield str(found), symmetry.applied(network, found)


def _by_first_steps(network: Network, seen: Seen) -> symmetry.Symmetry | None:
    """The symmetry that the first step of every sequence shows: from zeros, recurrent kernels have no part in it."""
    run = next((run for run in seen.runs if run.batch.h0 is None), None)
    if run is None:
        return None
    sequences = np.arange(len(run.y))
    steps = steps_at(network, run, sequences, np.zeros_like(sequences))
    if steps is None:
        return None
    given = iter(steps)

    def match(k: int, _: int, ours: Direction) -> symmetry.Matched | None:
        layer = network.layers[k]
        terms, h = next(given)
        I = ours.input_size
        state: State = (terms[:, I:],)
        if layer.cell == "lstm":
            state = (*state, np.zeros((len(terms), ours.hidden_size)))
        if ours.projection is not None:
            return None
        formula = recurrence(layer, ours)
        after = formula.step(formula.project(terms[:, None, :I])[:, 0], state)
        return symmetry.matched(after[0], h, symmetry.free(layer))

    return symmetry.find_by(network, match)


def top_units_by_outputs(network: Network, runs: Sequence[Run]) -> symmetry.Symmetry | None:
    """The symmetry of the top layer alone that the outputs of `runs` show; None where they show none.

    The units of lower layers may stand in any order: what they compute together is the same. Only runs from zero states
    count, as initial states are not turned.
    """
    top = len(network.layers) - 1
    shown = [run for run in runs if run.batch.h0 is None]
    if not shown:
        return None
    computed = reference.run(network, [run.batch for run in shown]).runs
    ours = np.concatenate([computed[run.batch.name].y.reshape(-1, network.output_size) for run in shown])
    theirs = np.concatenate([run.y.reshape(-1, network.output_size) for run in shown]).astype(np.float64)

    def match(k: int, j: int, d: Direction) -> symmetry.Matched | None:
        H = d.hidden_size
        if d.projection is not None:
            return None
        if k < top:
            return list(range(H)), [1.0] * H
        units = slice(j * H, (j + 1) * H) if network.output_size > H else slice(None)
        return symmetry.matched(ours[:, units], theirs[:, units], symmetry.free(network.layers[k]))

    return symmetry.find_by(network, match)


def rows_in_another_order(network: Network, seen: Seen) -> Networks:
    """the rows of a kernel are in another order

    A row belongs to one input feature (kernel) or one unit of the state before (recurrent kernel), and here they are
    mixed up. Bring the features, or units, into the order of training wherever they are read.
    """
    yield from _shuffled(network, seen, axis=1) if seen.likely(network) else _usual_orders(network)


def _usual_orders(network: Network) -> Networks:
    """The input features the other way round, or some moved from one end to the other."""
    for j, d in enumerate(network.layers[0].directions):
        rows = list(range(d.input_size))
        orders = {tuple(rows[::-1]), *(tuple(rows[n:] + rows[:n]) for n in rows[1:])} if len(rows) < 32 else set()
        for order in sorted(orders):
            where = f"{named(network, (0, j))} kernel, rows {symmetry.brief(order)}"
            yield where, placed(network, (0, j), replace(d, kernel=d.kernel[:, list(order)]))


def columns_in_another_order(network: Network, seen: Seen) -> Networks:
    """the columns of a tensor are in another order

    One column belongs to one hidden unit, so kernel, recurrent kernel and bias must have one order: in this tensor it
    is another. Permute all of them alike, the recurrent kernel in its rows and in its columns.
    """
    yield from _shuffled(network, seen, axis=2)


_NAMES = (("kernel", "kernel"), ("recurrent_kernel", "recurrent kernel"))


def _shuffled(network: Network, seen: Seen, axis: int) -> Networks:
    likely = seen.likely(network)
    if likely is None:
        return
    kind = "rows" if axis == 1 else "columns"
    for place, ours, theirs in side_by_side(network, likely):
        for name, words in _NAMES:
            a, b = (_lines(getattr(d, name), axis) for d in (ours, theirs))
            order = order_of(a, b)
            if order is not None:
                changed = with_tensor(ours, name, np.take(getattr(ours, name), order, axis=axis))
                yield (
                    f"{named(network, place)} {words}, {kind} {symmetry.brief(order)}",
                    placed(network, place, changed),
                )
        order = _order_of_projection(ours, theirs, axis)
        if order is not None and ours.projection is not None:
            changed = replace(ours, projection=np.take(ours.projection, order, axis=axis - 1))
            yield f"{named(network, place)} projection, {kind} {symmetry.brief(order)}", placed(network, place, changed)
        order = order_of(ours.bias.T, theirs.bias.T) if axis == 2 else None
        if order is not None:
            mixed = replace(ours, bias_input=ours.bias_input[:, order], bias_recurrent=ours.bias_recurrent[:, order])
            yield f"{named(network, place)} bias, {symmetry.brief(order)}", placed(network, place, mixed)


def _order_of_projection(ours: Direction, theirs: Direction, axis: int) -> list[int] | None:
    if ours.projection is None or theirs.projection is None:
        return None
    return order_of(*(_lines(each[None], axis) for each in (ours.projection, theirs.projection)))


def _lines(w: Array, axis: int) -> Array:
    """The rows (axis 1) or columns (axis 2) of w (G, R, H), those of all gates together, as rows."""
    lines = np.moveaxis(w, axis, 0)
    return lines.reshape(len(lines), -1)


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
    reach = 0.05 * np.abs(b).max()
    if not all((np.abs(a - row).max(axis=1) <= reach).any() for row in b[:3]):  # quick to tell
        return None
    distance = (a * a).sum(axis=1)[:, None] - 2 * a @ b.T  # (n, n); the term of b alone changes nothing
    order = [int(k) for k in np.argmin(distance, axis=0)]
    if sorted(order) != list(range(len(a))) or order == sorted(order):
        return None
    return order if np.abs(a[order] - b).max() <= reach else None
