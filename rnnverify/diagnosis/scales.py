"""Kernels that are multiples of the right ones: as a whole, column by column, or with some of their numbers lost.

Both weights have to be known; in a recording none of these can be told from other weights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnnverify.canonical import Array, Network
from rnnverify.diagnosis.hypothesis import Networks, Seen, named, placed, side_by_side, with_tensor

_KERNELS = (("kernel", "kernel"), ("recurrent_kernel", "recurrent kernel"))
_LEAST, _MOST = 0.02, 0.98  # of the weights of a kernel, that dropout may have set to zero


def kernel_scaled(network: Network, seen: Seen) -> Networks:
    """a tensor is multiplied by a constant

    Every number of it is the same multiple of what it should be: a scale that one side folds into the weights and the
    other applies when it runs, a weight norm not folded, a sign. Divide by it where the tensor is loaded.
    """
    yield from _taken(network, seen, _scaled)


def columns_scaled(network: Network, seen: Seen) -> Networks:
    """the columns of a tensor are multiplied by constants

    All numbers that lead to one unit are the same multiple of what they should be: a weight norm of which only the
    direction v was read, not its length g. Fold it: w = g v / |v|, row by row of weight_hh.
    """
    yield from _taken(network, seen, _scaled_by_columns)


def weights_dropped(network: Network, seen: Seen) -> Networks:
    """some weights of a kernel are dropped out

    Many are zero, and all others the same multiple of what they should be: DropConnect, or weight drop, keeps a copy
    with dropout beside the raw kernel, and the copy was read. Read the raw one.

    Keras: the kernel itself, not what a wrapper with dropout made of it.
    PyTorch: weight_hh_l0_raw, not weight_hh_l0.
    TensorFlow: the variable itself, not what dropout made of it.
    """
    # salesforce/awd-lstm-lm#99
    yield from _taken(network, seen, _dropped)


def _taken(network: Network, seen: Seen, told: Callable[[Array, Array], str | None]) -> Networks:
    """With every kernel of the other side that is what `told` looks for, and says in words."""
    if seen.network is None:
        return
    found, said = network, []
    for place, ours, theirs in side_by_side(network, seen.network):
        changed = ours
        for name, words in _KERNELS:
            how = told(getattr(ours, name), getattr(theirs, name))
            if how is not None:
                changed = with_tensor(changed, name, getattr(theirs, name))
                said.append(f"{named(network, place)} {words}{how}")
        found = found if changed is ours else placed(found, place, changed)
    if said:
        yield "; ".join(said), found


def _scaled(a: Array, b: Array) -> str | None:
    factor = _factor(a, b)
    return None if factor is None or factor == 1 else f", {factor:.4g} times"


def _scaled_by_columns(a: Array, b: Array) -> str | None:
    """Whether b (G, R, H) is a times a constant for each gate and unit, to the last digits of float32."""
    if a.shape[1] < 3 or np.array_equal(a, b):
        return None
    largest = np.argmax(np.abs(a), axis=1)[:, None]
    top, theirs = (np.take_along_axis(w, largest, axis=1).astype(np.float64) for w in (a, b))
    if not (top.all() and theirs.all()):
        return None
    return "" if np.all(np.abs(a * (theirs / top) - b) <= 2.0**-21 * np.abs(b)) else None


def _dropped(a: Array, b: Array) -> str | None:
    lost = float(np.mean((b == 0) & (a != 0)))
    factor = _factor(np.where(b == 0, 0, a), b) if _LEAST < lost < _MOST else None
    if factor is None:
        return None
    return f", {lost:.0%} of them" + (f", the others {factor:.4g} times" if factor != 1 else "")


def _factor(a: Array, b: Array) -> float | None:
    """c where b is c a to the last digits of float32."""
    at = np.unravel_index(int(np.argmax(np.abs(a))), a.shape)
    if a.size < 4 or a.shape != b.shape or a[at] == 0 or b[at] == 0:
        return None
    factor = float(b[at]) / float(a[at])
    close = np.abs(a.astype(np.float64) * factor - b) <= 2.0**-21 * np.abs(b)
    return factor if close.all() else None
