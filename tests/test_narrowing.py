"""Weights in fewer digits are named for what happened to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from networks import single

from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.narrowing import pattern


def with_kernels(network: Network, change: Callable[[Array], Array]) -> Network:
    layers = []
    for layer in network.layers:
        directions = [
            Direction(
                change(d.kernel).astype(np.float32),
                change(d.recurrent_kernel).astype(np.float32),
                d.bias_input,
                d.bias_recurrent,
                d.reverse,
            )
            for d in layer.directions
        ]
        layers.append(Layer(tuple(directions), layer.activation))
    return Network(tuple(layers))


def truncated_mantissa(w: Array, bits: int) -> Array:
    mask = np.uint32(0xFFFFFFFF << (24 - bits) & 0xFFFFFFFF)
    half = np.uint32(1 << (23 - bits))
    bits_of = (w.astype(np.float32).view(np.uint32) + half) & mask
    return np.asarray(bits_of.view(np.float32))


def int8(w: Array) -> Array:
    scale = np.abs(w).max() / 127
    return np.asarray(np.round(w / scale) * scale)


NETWORK = single(5, 8, seed=3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda w: w.astype(np.float16), "float16"),
        (lambda w: truncated_mantissa(w, 8), "bfloat16"),
        (lambda w: truncated_mantissa(w, 11), "float16, or tf32"),
        (lambda w: truncated_mantissa(w * 2.0**-20, 11) * 2.0**20, "float16, or tf32"),
        (lambda w: np.round(w, 4), "4 decimals"),
        (lambda w: np.round(w, 2), "2 decimals"),
        (int8, "int8, one scale for each tensor"),
    ],
)
def test_what_happened_is_named(change: Callable[[Array], Array], named: str) -> None:
    narrow = with_kernels(NETWORK, change)
    assert pattern(NETWORK, narrow, ("A", "B")).startswith(f"the kernels of B are those of A rounded to {named}")
    assert pattern(narrow, NETWORK, ("A", "B")).startswith(f"the kernels of A are those of B rounded to {named}")


def test_other_differences_are_not() -> None:
    noise = np.random.default_rng(0)
    other = with_kernels(NETWORK, lambda w: w + noise.normal(0, 1e-4, w.shape))
    assert pattern(NETWORK, other, ("A", "B")) == ""
    assert (
        pattern(
            NETWORK, with_kernels(NETWORK, lambda w: w.swapaxes(1, 2) if w.shape[1] == w.shape[2] else w), ("A", "B")
        )
        == ""
    )


def test_equal_kernels_are_not_called_rounded() -> None:
    coarse = with_kernels(NETWORK, lambda w: np.round(w, 1))
    assert pattern(coarse, coarse, ("A", "B")) == ""
