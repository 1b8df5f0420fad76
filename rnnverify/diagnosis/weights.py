"""Kernels in a wrong layout: transposed, reshaped, swapped, split at the wrong row, not loaded, scaled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rnnverify import mistakes
from rnnverify.canonical import GATES, Array, CellKind, Direction, Network, reorder
from rnnverify.diagnosis.hypothesis import (
    Networks,
    Seen,
    everywhere_and_apart,
    placed,
    side_by_side,
    with_tensor,
)
from rnnverify.gate_mistakes import in_directions


def recurrent_transposed(network: Network, _: Seen) -> Networks:
    """the recurrent kernel is transposed

    It is square, so no shape error tells: step 0 is exact, every later step is wrong. Transpose it where it is loaded,
    or leave out the transposition that is there.

    Keras: recurrent_kernel is weight_hh_l0.T of PyTorch.
    PyTorch: weight_hh_l0 is recurrent_kernel.T of Keras.
    TensorFlow: kernel[I:], below the rows of the I inputs, is weight_hh_l0.T of PyTorch.
    """
    # keras-team/keras#8720, NVIDIA/TensorRT#371
    yield from everywhere_and_apart(network, mistakes.recurrent_transposed)


def kernel_transposed(network: Network, _: Seen) -> Networks:
    """a square input kernel is transposed

    With as many inputs as units no shape error tells: wrong from step 0 on. Transpose it where it is loaded, in the
    layers above the first too.

    Keras: kernel is (I, H), weight_ih_l0.T of PyTorch.
    PyTorch: weight_ih_l0 is (H, I), kernel.T of Keras.
    TensorFlow: kernel[:I], the rows of the inputs, is weight_ih_l0.T of PyTorch.
    """
    # discuss.pytorch.org 110741
    yield from everywhere_and_apart(network, mistakes.kernel_transposed)


def kernel_reshaped(network: Network, _: Seen) -> Networks:
    """the input kernel is reshaped where it should be transposed

    reshape keeps the order of the numbers in memory and so mixes rows and columns: the shape fits, the output is wrong
    from step 0 on. Transpose instead.

    Keras: write weight_ih.T, not weight_ih.reshape(I, H).
    PyTorch: write kernel.T, not kernel.reshape(H, I) or view(H, I).
    TensorFlow: write weight_ih.T for kernel[:I], not weight_ih.reshape(I, H).
    """
    # keras-team/keras#8720: cuDNN kernels read as plain Keras ones are the inverse of the same mistake
    yield from everywhere_and_apart(network, mistakes.kernel_reshaped)
    yield from everywhere_and_apart(network, _reshaped_back)
    yield from _reshaped_whole(network, "kernel")


def recurrent_reshaped(network: Network, _: Seen) -> Networks:
    """the recurrent kernel is reshaped where it should be transposed

    All gates in one matrix are not square, and reshape makes its shape fit: step 0 is exact, every later step is wrong.
    Transpose instead.

    Keras: write weight_hh.T, not weight_hh.reshape(H, gates * H).
    PyTorch: write recurrent_kernel.T, not recurrent_kernel.reshape(gates * H, H) or view.
    TensorFlow: write weight_hh.T for kernel[I:], not weight_hh.reshape(H, gates * H).
    """
    yield from _reshaped_whole(network, "recurrent_kernel")


def kernels_swapped(network: Network, _: Seen) -> Networks:
    """input and recurrent kernel are swapped

    Both are square, so no shape error tells: wrong from step 0 on. Pair them by name: the one that multiplies x, and
    the one that multiplies the state.

    Keras: set_weights takes [kernel, recurrent_kernel, bias].
    PyTorch: weight_ih_l0 multiplies x, weight_hh_l0 the state.
    TensorFlow: kernel[:I] multiplies x, kernel[I:] the state.
    """
    # tensorflow/tensorflow#15087
    yield from everywhere_and_apart(network, mistakes.kernels_swapped)


def concatenated_the_other_way(network: Network, _: Seen) -> Networks:
    """a kernel over [x, h] is read as one over [h, x]

    The rows of one kernel over [x, h] were split, or stacked, as if the state came first. Of a TensorFlow cell the
    first I rows belong to the input, as papers do not write it.

    Keras: kernel = K[:I], recurrent_kernel = K[I:].
    PyTorch: weight_ih_l0 = K[:I].T, weight_hh_l0 = K[I:].T.
    TensorFlow: kernel = np.concatenate([kernel, recurrent_kernel]).
    """
    # tensorflow/tensorflow#15087 and #20435
    yield from everywhere_and_apart(network, mistakes.concatenated_the_other_way)
    yield from everywhere_and_apart(network, _concatenated_back)


def recurrence_lost(network: Network, _: Seen) -> Networks:
    """the recurrent kernel is not loaded

    It is zero, or the state is not handed on: step 0 is exact, and every later step is computed as if it were the
    first. Load it, and pass the state of each step to the next.

    Keras: it is the second array of set_weights.
    PyTorch: it is weight_hh_l0.
    TensorFlow: it is kernel[I:].
    """
    # pytorch/pytorch#142303
    yield from everywhere_and_apart(network, mistakes.recurrence_lost)


def recurrence_lost_back(network: Network, seen: Seen) -> Networks:
    """Where a recurrent kernel is zero, that of the other side, or nearly that where only its behaviour is known."""
    lost = any(not np.any(d.recurrent_kernel) for _, _, d in network.directions())
    likely = seen.likely(network) if lost else None
    if likely is None:
        return
    found = network
    for place, ours, theirs in side_by_side(network, likely):
        if not np.any(ours.recurrent_kernel) and np.isfinite(theirs.recurrent_kernel).all():
            found = placed(found, place, replace(ours, recurrent_kernel=theirs.recurrent_kernel))
    if found is not network:
        yield "", found


def one_kernel_for_both(network: Network, _: Seen) -> Networks:
    """one kernel is used as input and as recurrent kernel

    A line was copied and not changed: both kernels hold the same numbers. Load each from its own tensor.

    Keras: kernel and recurrent_kernel are the first and second array of set_weights.
    PyTorch: weight_ih_l0 comes from the input kernel, weight_hh_l0 from the recurrent one.
    TensorFlow: kernel[:I] comes from the input kernel, kernel[I:] from the recurrent one.
    """
    yield from everywhere_and_apart(network, lambda n: mistakes.each(n, lambda d: _tied(d, first=True)))
    yield from everywhere_and_apart(network, lambda n: mistakes.each(n, lambda d: _tied(d, first=False)))


def _tied(d: Direction, first: bool) -> Direction:
    if d.kernel.shape != d.recurrent_kernel.shape:
        return d
    return replace(d, recurrent_kernel=d.kernel) if first else replace(d, kernel=d.recurrent_kernel)


def _reshaped_back(network: Network) -> Network:
    def change(d: Direction) -> Direction:
        G, I, H = d.kernel.shape
        return replace(d, kernel=d.kernel.reshape(G, H, I).swapaxes(1, 2))

    return mistakes.each(network, change)


def _reshaped_whole(network: Network, name: str) -> Networks:
    """A matrix of all gates, in an order that frameworks store, reshaped from one layout to the other."""
    for cell, orders in _STORED.items():
        for order in orders:
            for change in (_rows_as_columns, _columns_as_rows):
                made = _reshaped_in(network, cell, order, name, change)
                if made is not None:
                    yield from everywhere_and_apart(network, lambda _, made=made: made)  # type: ignore[misc]  # mypy infers no type for a lambda with a default


_STORED: dict[CellKind, tuple[str, ...]] = {"gru": ("rzn", "zrn"), "lstm": ("ifgo", "igfo", "iofg")}


def _reshaped_in(
    network: Network, cell: CellKind, order: str, name: str, change: Callable[[Array], Array]
) -> Network | None:
    def of(d: Direction) -> Direction:
        w = reorder(getattr(d, name), GATES[cell], order)
        return with_tensor(d, name, reorder(change(w), order, GATES[cell]))

    return in_directions(network, cell, of)


def _rows_as_columns(w: Array) -> Array:
    """w (G, R, H): its matrix (G * H, R), reshaped to (R, G * H)."""
    G, R, H = w.shape
    return np.asarray(np.moveaxis(w.swapaxes(1, 2).reshape(R, G, H), 1, 0))


def _columns_as_rows(w: Array) -> Array:
    """w (G, R, H): its matrix (R, G * H), reshaped to (G * H, R)."""
    G, R, H = w.shape
    return np.asarray(np.moveaxis(w, 0, 1).reshape(G, H, R).swapaxes(1, 2))


def _concatenated_back(network: Network) -> Network:
    def change(d: Direction) -> Direction:
        rows = np.concatenate([d.recurrent_kernel, d.kernel], axis=1)
        I = d.input_size
        return replace(d, kernel=rows[:, :I], recurrent_kernel=rows[:, I:])

    return mistakes.each(network, change)
