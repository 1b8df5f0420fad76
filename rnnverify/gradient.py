"""Back-propagation through the layers of the reference: how a number read off the outputs changes with the inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnnverify import reference
from rnnverify.canonical import Array, Layer, Network
from rnnverify.cells.gradients import through_time
from rnnverify.trace import Run


def input_gradient(network: Network, run: Run, outputs: Array) -> Array:
    """The gradient (B, T, I) of sum(outputs * y) with respect to the inputs of `run`, which started from zero states.

    `run` is what the reference made of `network`; `outputs` (B, T, F) weighs its y. Float64.
    """
    layers = list(zip(network.layers, *_inputs_and_parts(network, run), strict=True))
    gradient = outputs
    for layer, x, parts in reversed(layers):
        below = np.zeros(x.shape)
        for direction, h, g in zip(layer.directions, parts, _split(layer, parts, gradient), strict=True):
            restored = direction.reverse and layer.time_restored
            seen = (_turn(x, direction.reverse), _turn(h, restored), _turn(g, restored))
            found = through_time(layer, direction, *seen)
            below += _turn(found, direction.reverse)
        gradient = below
    return gradient


def _inputs_and_parts(network: Network, run: Run) -> tuple[list[Array], list[list[Array]]]:
    """What each layer read (B, T, I), and the states (B, T, H) of its directions as emitted."""
    states = iter(run.states or (run.y,))
    x: Array = run.batch.x.astype(np.float64)
    inputs, parts = [], []
    for layer in network.layers:
        inputs.append(x)
        parts.append([next(states) for _ in layer.directions])
        x = parts[-1][0] if len(parts[-1]) == 1 else reference.merge(layer.merge, parts[-1])
    return inputs, parts


def _split(layer: Layer, parts: list[Array], gradient: Array) -> Iterator[Array]:
    """The gradient of merged outputs (B, T, F), as that of each direction's (B, T, H)."""
    for k in range(len(parts)):
        if not layer.bidirectional or layer.merge == "sum":
            yield gradient
        elif layer.merge == "concat":
            yield gradient[..., k * layer.state_size : (k + 1) * layer.state_size]
        elif layer.merge == "mul":
            yield gradient * parts[1 - k]
        else:
            yield gradient / 2


def _turn(array: Array, reverse: bool) -> Array:
    return array[:, ::-1] if reverse else array
