"""Weights with fewer digits than they were trained with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnverify import mistakes
from rnnverify.canonical import Array, Direction, Network
from rnnverify.diagnosis.hypothesis import Networks, Seen, placed, side_by_side, with_tensors
from rnnverify.narrowing import Rounding, is_rounding_of, roundings


def rounded(network: Network, seen: Seen) -> Networks:
    """the weights are rounded to fewer digits

    They went through a narrower type, a text file or 8-bit quantisation: every weight is close, nearly none is equal.
    Export all digits of float32, or accept the deviation with --atol.

    Keras: no float16 policy, and savetxt(fmt="%.9g").
    PyTorch: no half(), and savetxt(fmt="%.9g").
    TensorFlow: no float16, and savetxt(fmt="%.9g").
    """
    # pytorch/pytorch#175845, NVIDIA/TensorRT#2336, qualcomm/aimet#2763, alibaba/MNN#2500
    for name, rounding in roundings():
        kernels = mistakes.each(network, lambda d, r=rounding: _narrow_kernels(d, r))  # type: ignore[misc]  # mypy infers no type for a lambda with a default
        for change in (_biases_apart, _biases_added, _biases_kept):
            changed = mistakes.each(kernels, lambda d, r=rounding, c=change: c(d, r))  # type: ignore[misc]
            yield f"to {name}", changed if seen.network is None else _as_stored(network, changed, seen.network)


def _narrow_kernels(d: Direction, rounding: Rounding) -> Direction:
    """With all that is no bias."""
    return with_tensors(d, {name: _narrow(w, rounding) for name, w in d.tensors() if not name.startswith("bias")})


def _biases_apart(d: Direction, rounding: Rounding) -> Direction:
    return replace(d, bias_input=_narrow(d.bias_input, rounding), bias_recurrent=_narrow(d.bias_recurrent, rounding))


def _biases_added(d: Direction, rounding: Rounding) -> Direction:
    return replace(d, bias_input=_narrow(d.bias, rounding), bias_recurrent=np.zeros_like(d.bias_recurrent))


def _biases_kept(d: Direction, _: Rounding) -> Direction:
    return d


def _narrow(w: Array, rounding: Rounding) -> Array:
    with np.errstate(over="ignore"):
        return rounding(w.astype(np.float64)).astype(np.float64 if w.dtype == np.float64 else np.float32)


def _as_stored(network: Network, rounded: Network, other: Network) -> Network:
    """`rounded` with the tensors of `other` where they are equal up to the float32 in which they may be stored.

    A bias that was split in two before it was rounded may differ by as much as rounding changed the kernels.
    """
    for place, ours, theirs in side_by_side(rounded, other):
        before = network.layers[place[0]].directions[place[1]]
        names = [name for name, _ in ours.tensors() if "bias" not in name and getattr(theirs, name) is not None]
        same = {name: getattr(theirs, name) for name in names if _is_stored(getattr(ours, name), getattr(theirs, name))}
        if len(same) == len(names):
            reach = 2 * max(float(np.abs(getattr(before, name) - getattr(theirs, name)).max()) for name in same)
            if np.abs(ours.bias - theirs.bias).max() <= reach:
                same.update(bias_input=theirs.bias_input, bias_recurrent=theirs.bias_recurrent)
        rounded = placed(rounded, place, replace(ours, **same))
    return rounded


def _is_stored(rounded: Array, other: Array) -> bool:
    """Whether `other` is `rounded` up to its float32; a few columns tell most that are not."""
    return all(
        is_rounding_of(rounded[some].astype(np.float64), other[some].astype(np.float64))
        for some in ((..., slice(0, 8)), ...)
    )
