"""Elementwise activations by the name that Keras gives them, in float64.

`keras2_hard_sigmoid` is what Keras 1 and 2, tf.keras and Theano call `hard_sigmoid`: clip(0.2x + 0.5, 0, 1). Keras 3
and PyTorch mean relu6(x + 3) / 6 by the same name (keras/src/activations/activations.py, 3.0.0).

`activation` and `slope` also know names with parameters, such as `leaky_relu(0.01)` and `clip(3)tanh`: `parametrised`
has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rnnverify.canonical import Array
from rnnverify.parametrised import parsed

_SELU_ALPHA = 1.6732632423543772  # Klambauer et al. 2017; the constants of keras/src/activations/activations.py
_SELU_SCALE = 1.0507009873554805


def _sigmoid(z: Array) -> Array:
    return np.asarray(0.5 * np.tanh(z / 2) + 0.5)  # does not overflow, and is exact at 0


def _softplus(z: Array) -> Array:
    softened: Array = np.logaddexp(z, 0.0)
    return softened


def _elu(z: Array) -> Array:
    return np.asarray(np.where(z > 0, z, np.expm1(np.minimum(z, 0))))


def _gelu(z: Array) -> Array:
    return np.asarray(z * 0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(z / np.sqrt(2.0))))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "linear": lambda z: z,
    "sigmoid": _sigmoid,
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "keras2_hard_sigmoid": lambda z: np.clip(0.2 * z + 0.5, 0, 1),
    "relu6": lambda z: np.clip(z, 0, 6),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.2 * z),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "softplus": _softplus,
    "elu": _elu,
    "selu": lambda z: _SELU_SCALE * np.where(z > 0, z, _SELU_ALPHA * np.expm1(np.minimum(z, 0))),
    "exponential": np.exp,
    "silu": lambda z: z * _sigmoid(z),
    "gelu": _gelu,
    "mish": lambda z: z * np.tanh(_softplus(z)),
    "celu": _elu,  # with its default alpha of 1
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "hard_silu": lambda z: z * np.clip(z / 6 + 0.5, 0, 1),
    "log_sigmoid": lambda z: -_softplus(-z),
    "tanh_shrink": lambda z: z - np.tanh(z),
    "squareplus": lambda z: 0.5 * (z + np.sqrt(z * z + 4)),
}
"""Name to function of the pre-activation (any shape) to the new state (same shape)."""

ALIASES = {"swish": "silu", "hard_swish": "hard_silu"}
"""Other spellings that frameworks use for the same function."""


def _tanh_slope(z: Array) -> Array:
    return np.asarray(1 - np.tanh(z) ** 2)


def _sigmoid_slope(z: Array) -> Array:
    return np.asarray(_sigmoid(z) * _sigmoid(-z))


def _gelu_slope(z: Array) -> Array:
    cumulative = 0.5 + 0.5 * np.vectorize(math.erf, otypes=[np.float64])(z / np.sqrt(2.0))
    return np.asarray(cumulative + z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi))


def _mish_slope(z: Array) -> Array:
    inner = np.tanh(_softplus(z))
    return np.asarray(inner + z * (1 - inner**2) * _sigmoid(z))


def _elu_slope(z: Array) -> Array:
    return np.asarray(np.exp(np.minimum(z, 0)))


def _within(z: Array, low: float, high: float) -> Array:
    return np.asarray(((z > low) & (z < high)).astype(np.float64))


SLOPES: dict[str, Callable[[Array], Array]] = {
    "tanh": _tanh_slope,
    "relu": lambda z: _within(z, 0, np.inf),
    "linear": np.ones_like,
    "sigmoid": _sigmoid_slope,
    "hard_sigmoid": lambda z: _within(z, -3, 3) / 6,
    "keras2_hard_sigmoid": lambda z: 0.2 * _within(z, -2.5, 2.5),
    "relu6": lambda z: _within(z, 0, 6),
    "leaky_relu": lambda z: np.where(z > 0, 1.0, 0.2),
    "softsign": lambda z: 1 / (1 + np.abs(z)) ** 2,
    "softplus": _sigmoid,
    "elu": _elu_slope,
    "selu": lambda z: _SELU_SCALE * np.where(z > 0, 1.0, _SELU_ALPHA * np.exp(np.minimum(z, 0))),
    "exponential": np.exp,
    "silu": lambda z: _sigmoid(z) + z * _sigmoid_slope(z),
    "gelu": _gelu_slope,
    "mish": _mish_slope,
    "celu": _elu_slope,
    "hard_tanh": lambda z: _within(z, -1, 1),
    "hard_silu": lambda z: np.clip(z / 6 + 0.5, 0, 1) + z * _within(z, -3, 3) / 6,
    "log_sigmoid": lambda z: _sigmoid(-z),
    "tanh_shrink": lambda z: np.tanh(z) ** 2,
    "squareplus": lambda z: 0.5 * (1 + z / np.sqrt(z * z + 4)),
}
"""The derivative of each; at a corner the slope of one side."""


def activation(name: str) -> Callable[[Array], Array]:
    """The function of that name. Raises KeyError where there is none."""
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    parts = parsed(name)
    inner = parts.family.function(*parts.numbers) if parts.family else ACTIVATIONS[parts.base]
    return (lambda z: inner(np.clip(z, -parts.clip, parts.clip))) if parts.clip else inner


def slope(name: str) -> Callable[[Array], Array]:
    """The derivative of the function of that name. Raises KeyError where there is none."""
    if name in SLOPES:
        return SLOPES[name]
    parts = parsed(name)
    inner = parts.family.slope(*parts.numbers) if parts.family else SLOPES[parts.base]
    return (lambda z: inner(z) * _within(z, -parts.clip, parts.clip)) if parts.clip else inner
