"""Weights side by side: what differs between two canonical networks, beyond what a change of layout rounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnverify.canonical import Array, Direction, Network
from rnnverify.comparison import TensorDifference
from rnnverify.precision import UNIT_ROUNDOFF
from rnnverify.weight_map import weight_map


def structure(network: Network) -> str:
    """Everything but the numbers, in words: `2 layers, 5 -> 8 -> 8, tanh, bidirectional (concat)`."""
    layers = network.layers
    sizes = " -> ".join(str(size) for size in (network.input_size, *(layer.hidden_size for layer in layers)))
    words = [f"{len(layers)} layer" + "s" * (len(layers) > 1), sizes]
    words.append("/".join(dict.fromkeys(layer.activation for layer in layers)))
    if any(layer.bidirectional for layer in layers):
        words.append("bidirectional (" + "/".join(dict.fromkeys(layer.merge for layer in layers)) + ")")
    if any(layer.directions[0].reverse for layer in layers):
        words.append(
            "backwards" + ("" if all(layer.time_restored for layer in layers) else ", outputs not turned back")
        )
    return ", ".join(words)


def same_shapes(a: Network, b: Network) -> bool:
    """Whether the tensors of both networks correspond one to one."""
    mine, theirs = ([(d.kernel.shape, d.reverse) for _, _, d in network.directions()] for network in (a, b))
    layouts = ([(len(layer.directions), layer.merge, layer.time_restored) for layer in n.layers] for n in (a, b))
    return mine == theirs and next(layouts) == next(layouts)


def compare_weights(baseline: Network, candidate: Network) -> tuple[tuple[TensorDifference, ...], tuple[str, ...]]:
    """Tensor by tensor, and what differs in structure, as sentences.

    Kernels must be equal, but for the rounding of one that a file holds in parts. Of the biases only the sum counts,
    and a file with one bias may hold it rounded once to its dtype: that much is `rounded`, not `differing`. Tensors
    are compared where both networks have them in one shape.
    """
    reasons = list(_structure_reasons(baseline, candidate))
    tensors = []
    theirs = {where: direction for where, _, direction in candidate.directions()}
    for where, _, ours in baseline.directions():
        if where not in theirs or theirs[where].kernel.shape != ours.kernel.shape:
            continue
        other = theirs[where]
        tensors += [
            _difference(f"{where} {name}", a, b, _rebuilt(a, b) if ours.rebuilt or other.rebuilt else 0.0)
            for name, a, b in (
                ("kernel", ours.kernel, other.kernel),
                ("recurrent kernel", ours.recurrent_kernel, other.recurrent_kernel),
            )
        ]
        dtype = _narrower(ours, other)
        tensors.append(_difference(f"{where} bias", ours.bias, other.bias, _allowed(ours, other), dtype))
    return tuple(tensors), tuple(reasons)


def _structure_reasons(a: Network, b: Network) -> list[str]:
    if len(a.layers) != len(b.layers):
        return [f"the baseline has {len(a.layers)} layers, the other {len(b.layers)}"]
    reasons = []
    for k, (ours, theirs) in enumerate(zip(a.layers, b.layers, strict=True)):
        for what, mine, other in (
            ("activation", ours.activation, theirs.activation),
            ("hidden size", ours.hidden_size, theirs.hidden_size),
            ("number of directions", len(ours.directions), len(theirs.directions)),
        ):
            if mine != other:
                reasons.append(f"layer {k}: {what} {mine} against {other}")
        if ours.bidirectional and theirs.bidirectional and ours.merge != theirs.merge:
            reasons.append(f"layer {k}: directions merged by {ours.merge} against {theirs.merge}")
        backwards = [layer.directions[0].reverse for layer in (ours, theirs)]
        if backwards[0] != backwards[1]:
            reasons.append(
                f"layer {k}: runs {'backwards against forwards' if backwards[0] else 'forwards against backwards'}"
            )
        elif ours.time_restored != theirs.time_restored:
            reasons.append(f"layer {k}: the outputs of a backward run are turned back in time on one side only")
    return reasons


def _rebuilt(a: Array, b: Array) -> Array:
    """How far two kernels (G, I, H) may lie apart where one was split as weight_norm does, and put together again.

    w = g v / |v|, a norm for each row or column, over n weights. A norm meets n/2 + 1 roundings (n squares and their
    sum, halved by the root), once when g was taken and once when v is divided by it; product and quotient two more.
    """
    unit = UNIT_ROUNDOFF.get(min((a.dtype, b.dtype), key=lambda each: each.itemsize).name, 0.0)
    largest = np.maximum(np.abs(a), np.abs(b)).astype(np.float64)
    return np.asarray(unit * (max(a.shape[1:]) + 4) * largest)


def _allowed(a: Direction, b: Direction) -> Array:
    """How far the bias sums (G, H) of two sides may lie apart by layout alone.

    A side with one bias may hold the other's exact sum, rounded once to its dtype; a side with two may have split one
    bias in two parts, and rounded those.
    """
    dtype = _narrower(a, b)
    unit = UNIT_ROUNDOFF.get(dtype.name, 0.0)
    split = [np.where(d.bias_recurrent != 0, d.bias_magnitude, 0.0) for d in (a, b)]
    same = a.bias.astype(dtype) == b.bias.astype(dtype)
    return np.where(same, np.inf, unit * np.maximum(*split))


def _narrower(a: Direction, b: Direction) -> np.dtype[Any]:
    return min((d.bias_input.dtype for d in (a, b)), key=lambda each: each.itemsize)


def _difference(
    name: str, a: Array, b: Array, allowed: Array | float = 0.0, dtype: np.dtype[Any] | None = None
) -> TensorDifference:
    dtype = min((a.dtype, b.dtype), key=lambda each: each.itemsize) if dtype is None else dtype
    a, b = a.astype(np.float64), b.astype(np.float64)
    difference = np.abs(a - b)
    with np.errstate(over="ignore"):
        ulp = np.spacing(np.maximum(np.abs(a), np.abs(b)).astype(dtype)).astype(np.float64)
    differing = difference > allowed
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(difference)), difference.shape))
    return TensorDifference(
        name=name,
        shape=a.shape,
        differing=int(differing.sum()),
        max_abs=float(difference[at]),
        at=at[1:] if a.shape[0] == 1 else at,
        baseline_value=float(a[at]),
        candidate_value=float(b[at]),
        max_ulp=float((difference / ulp).max()),
        rounded=int((difference > 0).sum() - differing.sum()),
        map=weight_map(a, b) if differing.any() else None,
    )
