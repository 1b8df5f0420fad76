"""Whether the weights of one side are those of the other in fewer digits: a narrower type, decimals, int8."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from rnnverify.canonical import Array, Network

Rounding = Callable[[Array], Array]


def pattern(baseline: Network, candidate: Network, labels: tuple[str, str]) -> str:
    """A sentence such as "the kernels of B are those of A rounded to float16"; empty where none of these holds.

    The kernels decide, (G, I, H) and (G, H, H) of every layer and direction: the biases of a port may have been added.
    """
    sides = (list(_kernels(baseline)), list(_kernels(candidate)))
    if all(np.array_equal(a, b) for a, b in zip(*sides, strict=True)):
        return ""
    for one, other in ((0, 1), (1, 0)):
        for name, rounded in roundings():
            if all(is_rounding_of(rounded(a), b) for a, b in zip(sides[one], sides[other], strict=True)):
                return f"the kernels of {labels[other]} are those of {labels[one]} rounded to {name}"
    return ""


def _kernels(network: Network) -> Iterator[Array]:
    for name, array in network.tensors():
        if name.endswith("kernel"):
            yield array.astype(np.float64)


def roundings() -> Iterator[tuple[str, Rounding]]:
    """From the least loss to the greatest, so that the first that fits is the one that happened."""
    yield from ((f"{digits} decimals", partial(_to_decimals, digits)) for digits in (8, 7, 6, 5))
    yield "float16, or tf32, which has as many digits", _to_float16
    yield "tf32, 11 significant bits", partial(_to_bits, 11)  # beyond the range of float16
    yield from ((f"{digits} decimals", partial(_to_decimals, digits)) for digits in (4, 3))
    yield "bfloat16", partial(_to_bits, 8)
    yield "int8, one scale for each tensor", partial(_to_int8, None)
    yield "int8, one scale for each unit", partial(_to_int8, -2)
    yield from ((f"{digits} decimals", partial(_to_decimals, digits)) for digits in (2, 1))


def _to_decimals(digits: int, w: Array) -> Array:
    return np.round(w, digits)


def _to_float16(w: Array) -> Array:
    return w.astype(np.float16).astype(np.float64)


def _to_bits(bits: int, w: Array) -> Array:
    """To `bits` significant binary digits, ties to even."""
    fraction, exponent = np.frexp(w)
    return np.asarray(np.ldexp(np.round(np.ldexp(fraction, bits)), exponent - bits))


def _to_int8(axis: int | None, w: Array) -> Array:
    scale = np.max(np.abs(w), axis=axis, keepdims=True) / 127
    return np.asarray(np.round(np.divide(w, scale, out=np.zeros_like(w), where=scale > 0)) * scale)


def is_rounding_of(rounded: Array, other: Array) -> bool:
    """Up to the float32 that `other` may be stored in."""
    return rounded.shape == other.shape and bool(np.all(np.abs(rounded - other) <= 2.0**-23 * np.abs(rounded) + 1e-38))
