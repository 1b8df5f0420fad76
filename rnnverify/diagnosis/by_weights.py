"""Two networks whose weights are known: tensors that are equal bit for bit are accounted for."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import numpy as np

from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.diagnosis.hypothesis import side_by_side
from rnnverify.precision import UNIT_ROUNDOFF

_FEW_DIGITS = 2.0**-6  # of the largest weight: what rounding to 8 bits or two decimals may change


def parts(network: Network, other: Network, close: bool = False) -> Iterator[tuple[Part, bool]]:
    """What is equal: formula, merge and order of every layer, then the tensors of every direction.

    The networks have the same shapes. Of two biases only the sum counts, up to its rounding, but in the candidate of a
    GRU whose reset gate acts on one of them. With `close`, tensors may differ as they do after rounding to fewer
    digits.
    """
    for k, (a, b) in enumerate(zip(network.layers, other.layers, strict=True)):
        for n, (ours, theirs) in enumerate(zip(a.formula[1:], b.formula[1:], strict=True)):
            yield (k, 0, f"formula {n}"), ours == theirs
        yield (k, 0, "merge"), a.merge == b.merge
        forward = not any(d.reverse for d in (*a.directions, *b.directions))  # there is nothing to be turned back
        yield (k, 0, "time"), forward or a.time_restored == b.time_restored
    for (k, j), one, two in side_by_side(network, other):
        yield (k, j, "reverse"), one.reverse == two.reverse
        same = _close if close else _same
        yield (k, j, "kernel"), same(one.kernel, two.kernel)
        yield (k, j, "recurrent_kernel"), same(one.recurrent_kernel, two.recurrent_kernel)
        split = all(_is_split(each.layers[k]) for each in (network, other))
        yield (k, j, "bias"), _close(one.bias, two.bias) if close else _same_bias(one, two, split)
        for extra in _EXTRAS:
            mine, its = (getattr(d, extra) for d in (one, two))
            if mine is not None or its is not None:
                yield (k, j, extra), same(_or_zeros(mine, its), _or_zeros(its, mine))


Part = tuple[int, int, str]
"""Layer, direction and tensor; or layer, 0 and a fact of the layer."""


def changed(before: Network, after: Network) -> set[Hashable]:
    """The parts that a mistake changed; a tensor that was replaced counts, whatever its numbers."""
    found: set[Hashable] = set()
    for k, (a, b) in enumerate(zip(before.layers, after.layers, strict=True)):
        formulas = enumerate(zip(a.formula[1:], b.formula[1:], strict=True))
        found |= {(k, 0, f"formula {n}") for n, (ours, theirs) in formulas if ours != theirs}
        found |= {(k, 0, "merge")} if a.merge != b.merge else set()
        found |= {(k, 0, "time")} if a.time_restored != b.time_restored else set()
        for j, (one, two) in enumerate(zip(a.directions, b.directions, strict=True)):
            found |= {(k, j, "reverse")} if one.reverse != two.reverse else set()
            for name in ("kernel", "recurrent_kernel", *_EXTRAS):
                found |= {(k, j, name)} if getattr(one, name) is not getattr(two, name) else set()
            if one.bias_input is not two.bias_input or one.bias_recurrent is not two.bias_recurrent:
                found.add((k, j, "bias"))
    return found


_EXTRAS = ("peephole", "projection")


def _or_zeros(weights: Array | None, other: Array | None) -> Array:
    if weights is not None:
        return weights
    assert other is not None
    return np.zeros_like(other)


def _is_split(layer: Layer) -> bool:
    """Whether each bias of the candidate counts by itself."""
    return layer.cell == "gru" and layer.gating.reset_after


def equal(network: Network, other: Network) -> bool:
    """Whether every part is equal."""
    return all(same for _, same in parts(network, other))


def informative(network: Network, other: Network) -> tuple[bool, ...]:
    """Of the same parts: those that hold too many different numbers to be equal by chance."""
    facts: list[bool] = []
    for layer in network.layers:
        facts += [False] * (len(layer.formula) + 1)
    for _, ours, theirs in side_by_side(network, other):
        facts += [False, _is_rich(ours.kernel), _is_rich(ours.recurrent_kernel), _is_rich(ours.bias)]
        for extra in _EXTRAS:
            mine, its = (getattr(d, extra) for d in (ours, theirs))
            if mine is not None or its is not None:
                facts.append(_is_rich(_or_zeros(mine, its)))
    return tuple(facts)


def share_numbers(network: Network, other: Network) -> bool:
    """Whether some of the weights of one are found in the other, wherever: a mistake of layout keeps most of them."""
    ours, theirs = (
        np.concatenate([np.abs(tensor.ravel()) for name, tensor in each.tensors() if name.endswith("kernel")])
        for each in (network, other)
    )
    return bool(np.isin(theirs[theirs != 0], ours).mean() > 0.02) if theirs.any() else True


def nearly_share_numbers(network: Network, other: Network) -> bool:
    """Whether some kernel of one holds nearly the numbers of one of the other, in whatever order."""
    ours, theirs = (
        [np.sort(np.abs(w.ravel())) for name, w in each.tensors() if name.endswith("kernel")]
        for each in (network, other)
    )
    return any(a.shape == b.shape and _close(a, b) for a in ours for b in theirs)


def comparable(a: Network, b: Network) -> bool:
    """Whether the tensors of both networks correspond one to one, whatever way the directions run."""
    shapes = [
        [
            [(d.kernel.shape, d.recurrent_kernel.shape, d.projection is None) for d in layer.directions]
            for layer in network.layers
        ]
        for network in (a, b)
    ]
    return shapes[0] == shapes[1]


def _same(a: Array, b: Array) -> bool:
    few = (slice(None), slice(0, 2), slice(0, 8))[: a.ndim]  # most that differ do so here
    return np.array_equal(a[few], b[few]) and np.array_equal(a, b)


def _close(a: Array, b: Array) -> bool:
    few = (..., slice(0, 8))
    reach = _FEW_DIGITS * np.max(np.abs(a))
    return all(bool(np.all(np.abs(x - y) <= reach)) for x, y in ((a[few], b[few]), (a, b)))


def _same_bias(a: Direction, b: Direction, split: bool) -> bool:
    dtype = min((d.bias_input.dtype for d in (a, b)), key=lambda each: each.itemsize)
    size = np.maximum(a.bias_magnitude, b.bias_magnitude)
    added = any(np.any(d.bias_recurrent) for d in (a, b))
    unit = 2 * UNIT_ROUNDOFF[dtype.name]
    gates = slice(0, -1) if split else slice(None)
    if not np.all(np.abs(a.bias - b.bias)[gates] <= unit * added * size[gates]):
        return False
    pairs = ((getattr(d, name)[-1].astype(np.float64) for d in (a, b)) for name in ("bias_input", "bias_recurrent"))
    return not split or all(bool(np.all(np.abs(one - two) <= unit * size[-1])) for one, two in pairs)


def _is_rich(array: Array) -> bool:
    return len(np.unique(array)) >= 4
