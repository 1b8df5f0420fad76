"""The activations of a recurrent ONNX node: `activations`, with `activation_alpha` and `activation_beta`.

The two lists are consumed in order, by those functions alone that take such a number (onnx/docs/Operators.md; so does
onnxruntime 1.32). Where they end, the defaults of the operators of the same name hold; Affine and ScaledTanh are no
operators, and for ThresholdedRelu runtimes take other numbers: there the file has to state them. An Affine without
beta, as keras2onnx 1.7 writes what is linear, adds nothing (measured with onnxruntime 1.32).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnverify.adapters.onnx.parts import Part
from rnnverify.errors import FileError, UnsupportedError, printable
from rnnverify.parametrised import parsed, spelled


@dataclass(frozen=True)
class _Function:
    name: str
    defaults: tuple[float | None, ...] = ()  # of alpha and beta, as far as it takes them; None: has to be stated


_FUNCTIONS = {
    "relu": _Function("relu"),
    "tanh": _Function("tanh"),
    "sigmoid": _Function("sigmoid"),
    "softsign": _Function("softsign"),
    "softplus": _Function("softplus"),
    "affine": _Function("affine", (None, 0.0)),
    "leakyrelu": _Function("leaky_relu", (0.01,)),
    "thresholdedrelu": _Function("thresholded_relu", (None,)),
    "scaledtanh": _Function("scaled_tanh", (None, None)),
    "hardsigmoid": _Function("hard_sigmoid", (0.2, 0.5)),
    "elu": _Function("elu", (1.0,)),
}
"""ONNX's names, in small letters, and the names here."""

_DEFAULTS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
_KNOWN = {
    ("hard_sigmoid", (0.2, 0.5)): "keras2_hard_sigmoid",
    ("hard_sigmoid", (1 / 6, 0.5)): "hard_sigmoid",
    ("leaky_relu", (0.2,)): "leaky_relu",
    ("leaky_relu", (0.0,)): "relu",
    ("elu", (1.0,)): "elu",
    ("affine", (1.0, 0.0)): "linear",
    ("scaled_tanh", (1.0, 1.0)): "tanh",
}
"""What has a name without numbers too: the one that other frameworks state."""


def activations_of(path: Path, part: Part) -> tuple[str, ...]:
    """The functions f of an RNN, f and g of a GRU, f, g and h of an LSTM, without its clip.

    Raises UnsupportedError for unknown ones and for directions that differ, FileError for too few or too many.
    """
    shown = printable(part.name, 80)
    stated = part.node.texts("activations")
    numbers = [part.node.reals(f"activation_{greek}") for greek in ("alpha", "beta")]
    defaults = _DEFAULTS[part.op]
    wanted = len(defaults) * len(part.ways)
    stated = stated or list(defaults * len(part.ways))
    if len(stated) != wanted:
        found = f"{shown} states {len(stated)} activations, where {part.op} with its directions has {wanted}"
        raise FileError(path, found, "export the model again")
    queues = [iter(values) for values in numbers]
    names = [_spelled(path, shown, text, queues) for text in stated]
    own = names[: len(defaults)]
    if len(part.ways) == 2 and names[len(defaults) :] != own:
        found = f"the directions of {shown} have other activations: {'/'.join(names)}"
        raise UnsupportedError(path, found, "this version compares layers with the same ones in both directions")
    return tuple(own)


def is_symmetric(name: str) -> bool:
    """Whether 1 - f(x) is f(-x) of this activation of a gate."""
    parts = parsed(name) if name not in ("sigmoid", "hard_sigmoid", "keras2_hard_sigmoid") else None
    return parts is None or (parts.base == "hard_sigmoid" and parts.numbers[1:] == (0.5,))


def _spelled(path: Path, shown: str, stated: str, queues: Sequence[object]) -> str:
    function = _FUNCTIONS.get(stated.lower())
    if function is None:
        found = f"{shown} states the activation {printable(stated, 40)}"
        raise UnsupportedError(path, found, "which is none that ONNX has for recurrent nodes")
    numbers = []
    for greek, queue, default in zip(("alpha", "beta"), queues, function.defaults, strict=False):
        number = next(queue, default)  # type: ignore[call-overload]
        if number is None:
            found = f"{shown} states the activation {stated} without its activation_{greek}"
            raise UnsupportedError(path, found, "for which ONNX has no default: state it in the model")
        if not np.isfinite(number):
            raise UnsupportedError(path, f"{shown} states activation_{greek} {number}", "state a finite number")
        numbers.append(float(number))
    if function.name == "thresholded_relu" and numbers[0] < 0:
        found = f"{shown} states the activation ThresholdedRelu below 0"
        raise UnsupportedError(path, found, "this version compares functions that do not jump down")
    for (name, values), known in _KNOWN.items():
        if name == function.name and np.array_equal(np.array(values, np.float32), np.array(numbers, np.float32)):
            return known
    return spelled(function.name, tuple(numbers))
