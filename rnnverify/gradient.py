"""Back-propagation through time on the reference: how a number read off the outputs changes with the inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnnverify import reference
from rnnverify.activations import SLOPES
from rnnverify.canonical import Array, Direction, Layer, Network
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
            found = _through_time(
                layer.activation, direction, _turn(x, direction.reverse), _turn(h, restored), _turn(g, restored)
            )
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
            yield gradient[..., k * layer.hidden_size : (k + 1) * layer.hidden_size]
        elif layer.merge == "mul":
            yield gradient * parts[1 - k]
        else:
            yield gradient / 2


def _turn(array: Array, reverse: bool) -> Array:
    return array[:, ::-1] if reverse else array


def _through_time(activation: str, direction: Direction, x: Array, h: Array, gradient: Array) -> Array:
    """The gradient with respect to x (B, T, I), for states h (B, T, H) and theirs; all in the order of processing."""
    kernel = direction.kernel[0].astype(np.float64)
    recurrent = direction.recurrent_kernel[0].astype(np.float64)
    before = np.concatenate([np.zeros_like(h[:, :1]), h[:, :-1]], axis=1)
    slope = SLOPES[activation](x @ kernel + before @ recurrent + direction.bias[0])
    reached = np.empty_like(h)  # of the pre-activation of each step
    carried = np.zeros_like(h[:, 0])
    for t in range(h.shape[1] - 1, -1, -1):
        reached[:, t] = (gradient[:, t] + carried) * slope[:, t]
        carried = reached[:, t] @ recurrent.T
    return np.asarray(reached @ kernel.T)
