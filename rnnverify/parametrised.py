"""Activations that have parameters, as ONNX states them (onnx/docs/Operators.md, RNN: activation_alpha and _beta).

A name carries them: `leaky_relu(0.01)`, `affine(2,0.5)`; and where what goes in is clipped before, `clip(3)tanh`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rnnverify.canonical import Array

Function = Callable[[Array], Array]

_NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_NAME = re.compile(
    rf"(?:clip\((?P<clip>{_NUMBER})\))?(?P<base>[a-z]\w*?)(?:\((?P<numbers>{_NUMBER}(?:,{_NUMBER})*)\))?"
)


@dataclass(frozen=True)
class Family:
    """Functions that differ in numbers: alpha, or alpha and beta."""

    count: int
    function: Callable[..., Function]  # of the numbers
    slope: Callable[..., Function]
    error: Callable[..., tuple[float, float]]  # ulps of the result, and units roundoff
    rises: Callable[..., bool]  # whether the function nowhere falls
    steepest: Callable[..., float]


FAMILIES: dict[str, Family] = {
    "affine": Family(
        2,
        lambda a, b: lambda z: a * z + b,
        lambda a, _: lambda z: np.full_like(z, a, np.float64),
        lambda _, b: (2, abs(b)),
        lambda a, _: a >= 0,
        lambda a, _: abs(a),
    ),
    "leaky_relu": Family(
        1,
        lambda a: lambda z: np.where(z > 0, z, a * z),
        lambda a: lambda z: np.where(z > 0, 1.0, a),
        lambda _: (1, 0),
        lambda a: a >= 0,
        lambda a: max(1, abs(a)),
    ),
    "thresholded_relu": Family(
        1,
        lambda a: lambda z: np.where(z <= a, 0.0, z),
        lambda a: lambda z: (z > a).astype(np.float64),
        lambda _: (0, 0),
        lambda a: a >= 0,
        lambda _: math.inf,
    ),
    "scaled_tanh": Family(
        2,
        lambda a, b: lambda z: a * np.tanh(b * z),
        lambda a, b: lambda z: a * b * (1 - np.tanh(b * z) ** 2),
        lambda a, _: (10, 5 * abs(a)),
        lambda a, b: a * b >= 0,
        lambda a, b: abs(a * b),
    ),
    "hard_sigmoid": Family(
        2,
        lambda a, b: lambda z: np.clip(a * z + b, 0, 1),
        lambda a, b: lambda z: a * ((a * z + b > 0) & (a * z + b < 1)),
        lambda _, b: (0, 4 * (1 + abs(b))),
        lambda a, _: a >= 0,
        lambda a, _: abs(a),
    ),
    "elu": Family(
        1,
        lambda a: lambda z: np.where(z > 0, z, a * np.expm1(np.minimum(z, 0))),
        lambda a: lambda z: np.where(z > 0, 1.0, a * np.exp(np.minimum(z, 0))),
        lambda a: (8, 8 * max(1, abs(a))),
        lambda a: a >= 0,
        lambda a: max(1, abs(a)),
    ),
}
"""By the name that stands before the numbers."""


@dataclass(frozen=True)
class Parsed:
    """A name taken apart."""

    base: str
    numbers: tuple[float, ...] = ()
    clip: float = 0.0  # 0: none

    @property
    def family(self) -> Family | None:
        return FAMILIES[self.base] if self.numbers else None


def parsed(name: str) -> Parsed:
    """`clip(3)leaky_relu(0.1)` as its parts. Raises KeyError for what is no such name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise KeyError(name)
    numbers = tuple(float(np.float32(number)) for number in (match["numbers"] or "").split(",") if number)
    if numbers and (match["base"] not in FAMILIES or len(numbers) != FAMILIES[match["base"]].count):
        raise KeyError(name)
    return Parsed(match["base"], numbers, float(np.float32(match["clip"] or 0)))


def spelled(base: str = "", numbers: tuple[float, ...] = (), clip: float = 0.0) -> str:
    """The name that `parsed` takes apart again, or its beginning; numbers are float32, spelled as short as can be."""
    inner = f"({','.join(map(_shortest, numbers))})" if numbers else ""
    return (f"clip({_shortest(clip)})" if clip else "") + base + inner


def _shortest(number: float) -> str:
    return np.format_float_positional(np.float32(number), trim="-")
