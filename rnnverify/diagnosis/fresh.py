"""Whether weights are as a framework initialises them, before any training.

    Keras       recurrent kernels of all gates orthogonal together, biases zero, but 1 in the forget gate
    Flax        recurrent kernel of each gate orthogonal, biases zero
    PyTorch     every number uniform within 1 / sqrt(H), biases too; and Equinox
    TensorFlow  a kernel over [x, h] uniform within sqrt(6 / (rows + columns)), biases zero, but 1 in the gates of a GRU

Of an LSTM of TensorFlow a forget bias that is added at run time stands in the bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rnnverify.canonical import Array

Key = tuple[str, str, str]
"""Direction such as `layer 0 reverse`, gate in words, and `kernel`, `recurrent kernel` or `bias`."""

_ENOUGH = 64  # numbers: among fewer the largest may be at a bound by chance
_MISSED = 10  # the largest of n uniform numbers is off its bound by more than 10/n once in 20 000 times


def initialised_by(tensors: Mapping[Key, Array]) -> str:
    """The framework whose initialiser may have made all `tensors` of a network, each (rows, columns); else empty."""
    directions = dict.fromkeys(where for where, _, _ in tensors)
    kinds = [{kind: _of(tensors, where, kind) for kind in _KINDS} for where in directions]
    rules = {"Keras": _by_keras, "Flax": _by_flax, "PyTorch or Equinox": _by_torch, "TensorFlow 1": _by_tensorflow}
    return next((name for name, rule in rules.items() if kinds and all(rule(each) for each in kinds)), "")


_KINDS = ("kernel", "recurrent kernel", "bias")
Tensors = Mapping[str, Sequence[Array]]
"""Of one direction: kind to the tensors of its gates, in the canonical order."""


def _of(tensors: Mapping[Key, Array], where: str, kind: str) -> list[Array]:
    return [array for (place, _, its), array in tensors.items() if (place, its) == (where, kind)]


def _by_keras(d: Tensors) -> bool:
    return _is_orthogonal(np.concatenate(d["recurrent kernel"], axis=1)) and _has_no_bias(d, _FORGET)


def _by_flax(d: Tensors) -> bool:
    return all(_is_orthogonal(U) for U in d["recurrent kernel"]) and _has_no_bias(d, ())


def _by_torch(d: Tensors) -> bool:
    bound = float(d["kernel"][0].shape[1]) ** -0.5
    kernels = all(_is_uniform(np.stack(d[kind]), bound) for kind in ("kernel", "recurrent kernel"))
    sums = np.stack(d["bias"])  # of two
    return kernels and bool(np.abs(sums).max() <= 2 * bound)


def _by_tensorflow(d: Tensors) -> bool:
    whole = [np.concatenate(pair) for pair in zip(d["kernel"], d["recurrent kernel"], strict=True)]  # over [x, h]
    gru = len(whole) == 3
    parts = [np.concatenate(whole[:2], axis=1), whole[2]] if gru else [np.concatenate(whole, axis=1)]
    uniform = all(_is_uniform(W, (6 / sum(W.shape)) ** 0.5) for W in parts)
    return uniform and _has_no_bias(d, (0, 1) if gru else _FORGET)


_FORGET = (1,)


def _has_no_bias(d: Tensors, ones: Sequence[int]) -> bool:
    """Whether all biases are zero, or one in the gates `ones`."""
    constant = all(np.all(b == b.flat[0]) and b.flat[0] in (0.0, 1.0) for b in d["bias"])
    return constant and not any(b.any() for g, b in enumerate(d["bias"]) if g not in ones)


def _is_uniform(w: Array, bound: float) -> bool:
    """Whether w holds numbers spread evenly between -bound and bound."""
    if w.size < _ENOUGH:
        return False
    largest = float(np.abs(w).max()) / bound
    spread = float(np.std(w)) / bound * 3**0.5  # 1, and off it by about 0.45 / sqrt(n)
    return 1 - _MISSED / w.size <= largest <= 1 + 2.0**-22 and abs(spread - 1) <= 2 / w.size**0.5


def _is_orthogonal(U: Array) -> bool:
    """Whether the rows of U (rows, columns) are orthonormal."""
    rows, columns = U.shape
    return 1 < rows <= columns and bool(np.abs(U @ U.T - np.eye(rows)).max() < 1e-4)
