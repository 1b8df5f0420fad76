"""The rules that other tools judge by."""

from __future__ import annotations

import numpy as np

from rnnverify.canonical import Array

RULES = {
    "np.allclose": (1e-8, 1e-5),
    "assert_close": (1e-5, 1.3e-6),
    "1e-5": (1e-5, 0.0),
    "1e-4": (1e-4, 0.0),
    "1e-3": (1e-3, 0.0),
}
"""Absolute and relative tolerance: `numpy.allclose` and `torch.testing.assert_close` by default, and fixed ones."""


def rejects(actual: Array, expected: Array) -> list[str]:
    """The rules by which two arrays of one shape are not the same."""
    expected = expected.astype(np.float64)
    difference, size = np.abs(actual - expected), np.abs(expected)
    return [name for name, (atol, rtol) in RULES.items() if (difference > atol + rtol * size).any()]
