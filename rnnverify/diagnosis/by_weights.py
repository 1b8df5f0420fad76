"""Two networks whose weights are known: tensors that are equal bit for bit are accounted for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnnverify.canonical import Array, Direction, Network
from rnnverify.diagnosis.hypothesis import Place, side_by_side
from rnnverify.precision import UNIT_ROUNDOFF

_FEW_DIGITS = 2.0**-6  # of the largest weight: what rounding to 8 bits or two decimals may change


def parts(network: Network, other: Network, close: bool = False) -> Iterator[tuple[Place | None, bool]]:
    """What is equal: activation, merge and order of every layer, then the tensors of every direction.

    The networks have the same shapes. Of two biases only the sum counts, up to its rounding. With `close`, tensors may
    differ as they do after rounding to fewer digits.
    """
    for k, (a, b) in enumerate(zip(network.layers, other.layers, strict=True)):
        yield (k, 0), a.activation == b.activation
        yield (k, 0), a.merge == b.merge
        yield (k, 0), a.time_restored == b.time_restored
    for place, ours, theirs in side_by_side(network, other):
        yield place, ours.reverse == theirs.reverse
        same = _close if close else _same
        yield place, same(ours.kernel, theirs.kernel)
        yield place, same(ours.recurrent_kernel, theirs.recurrent_kernel)
        yield place, _close(ours.bias, theirs.bias) if close else _same_bias(ours, theirs)


def equal(network: Network, other: Network) -> bool:
    """Whether every part is equal."""
    return all(same for _, same in parts(network, other))


def informative(network: Network) -> tuple[bool, ...]:
    """Of the same parts: those that hold too many different numbers to be equal by chance."""
    facts: list[bool] = [False] * (3 * len(network.layers))
    for _, _, d in network.directions():
        facts += [False, _is_rich(d.kernel), _is_rich(d.recurrent_kernel), _is_rich(d.bias)]
    return tuple(facts)


def share_numbers(network: Network, other: Network) -> bool:
    """Whether some of the weights of one are found in the other, wherever: a mistake of layout keeps most of them."""
    ours, theirs = (
        np.concatenate([np.abs(tensor.ravel()) for name, tensor in each.tensors() if name.endswith("kernel")])
        for each in (network, other)
    )
    return bool(np.isin(theirs[theirs != 0], ours).mean() > 0.02) if theirs.any() else True


def comparable(a: Network, b: Network) -> bool:
    """Whether the tensors of both networks correspond one to one, whatever way the directions run."""
    shapes = [[[d.kernel.shape for d in layer.directions] for layer in network.layers] for network in (a, b)]
    return shapes[0] == shapes[1]


def _same(a: Array, b: Array) -> bool:
    few = (slice(None), slice(0, 2), slice(0, 8))  # most that differ do so here
    return np.array_equal(a[few], b[few]) and np.array_equal(a, b)


def _close(a: Array, b: Array) -> bool:
    few = (..., slice(0, 8))
    reach = _FEW_DIGITS * np.max(np.abs(a))
    return all(bool(np.all(np.abs(x - y) <= reach)) for x, y in ((a[few], b[few]), (a, b)))


def _same_bias(a: Direction, b: Direction) -> bool:
    dtype = min((d.bias_input.dtype for d in (a, b)), key=lambda each: each.itemsize)
    split = any(np.any(d.bias_recurrent) for d in (a, b)) * np.maximum(a.bias_magnitude, b.bias_magnitude)
    return bool(np.all(np.abs(a.bias - b.bias) <= 2 * UNIT_ROUNDOFF[dtype.name] * split))


def _is_rich(array: Array) -> bool:
    return len(np.unique(array)) >= 4
