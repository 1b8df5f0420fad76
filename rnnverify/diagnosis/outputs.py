"""Mistakes in what is done with the outputs of a right network: each makes them from right ones, y (B, T, F).

No weights are needed, so these are tried on two recordings too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.canonical import Array

Outputs = Iterator[tuple[str, Array]]
Remake = Callable[[Array, Array, int], Outputs]
"""From right outputs y, what the other side shows, and the number of directions, to outputs that the mistake makes."""


def activation_doubled(y: Array, _: Array, __: int) -> Outputs:
    """the activation is applied twice to the outputs

    The layer applies it already, and another layer or line does so again: the outputs are squashed, the recurrence is
    right. Delete the second one.

    Keras: an Activation layer, or a Dense with one, after the layer.
    PyTorch: torch.tanh(...) around the output of nn.RNN.
    TensorFlow: tf.tanh(...) around the outputs.
    """
    # discuss.pytorch.org 110741
    for name in ("tanh", "sigmoid", "relu"):
        yield name, ACTIVATIONS[name](y.astype(np.float64))


def last_step_everywhere(y: Array, _: Array, __: int) -> Outputs:
    """every step holds the output of the last

    Only the last output was kept and then repeated. Keep the output of every step.

    Keras: return_sequences=True.
    PyTorch: the whole output of nn.RNN, not h_n or output[:, -1].
    TensorFlow: outputs of dynamic_rnn, not its state.
    """
    # graykode/nlp-tutorial#47
    yield "", np.broadcast_to(y[:, -1:], y.shape)


def one_step_late(y: Array, _: Array, __: int) -> Outputs:
    """the outputs are one step late, or early

    Each step shows the state before it, or after the next. Append the state after the update, h = cell(x[t], h), and
    not before it.
    """
    late = np.concatenate([np.zeros_like(y[:, :1]), y[:, :-1]], axis=1)
    yield "late", late
    yield "early", np.concatenate([y[:, 1:], y[:, -1:]], axis=1)


def output_turned_round(y: Array, _: Array, directions: int) -> Outputs:
    """the outputs are turned round in time

    The same states, the last first: one side emits them in the order of processing, the other in that of the input.
    Turn them: y[:, ::-1], or y[:, ::-1, H:] where it is the backward half alone.
    """
    # onnx/keras-onnx#523, onnx/onnx#2881, keras-team/keras#1703
    yield "", y[:, ::-1]
    if directions == 2:
        H = y.shape[2] // 2
        yield "the backward half", np.concatenate([y[..., :H], y[:, ::-1, H:]], axis=2)


def halves_exchanged(y: Array, _: Array, directions: int) -> Outputs:
    """the backward half of the outputs comes first

    The directions are right and concatenated the other way round. Write concat([forward, backward], axis=-1).
    """
    if directions == 2:
        yield "", np.roll(y, y.shape[2] // 2, axis=2)


def directions_interleaved(y: Array, _: Array, directions: int) -> Outputs:
    """the outputs of the two directions are interleaved

    ONNX gives Y as (T, directions, B, H): it was reshaped before the direction axis stood before H. Transpose to (T, B,
    directions, H) first: Y.transpose(0, 2, 1, 3).reshape(T, B, -1).
    """
    # pytorch/pytorch#10838, onnx/onnx#921
    if directions == 2:
        B, T, F = y.shape
        yield "", y.reshape(B, T, 2, F // 2).swapaxes(2, 3).reshape(B, T, F)
        yield "", y.reshape(B, T, F // 2, 2).swapaxes(2, 3).reshape(B, T, F)
        yield "", y.reshape(B, T, 2, F // 2).transpose(1, 2, 0, 3).reshape(T, B, F).swapaxes(0, 1)
        yield "", y.swapaxes(0, 1).reshape(T, 2, B, F // 2).transpose(2, 0, 1, 3).reshape(B, T, F)


def dropout_active(y: Array, seen: Array, _: int) -> Outputs:
    """dropout is active

    Some outputs are zero, the others larger by one factor, and not the same at each call. Switch it off before
    recording or exporting.

    Keras: pass training=False.
    PyTorch: call model.eval().
    TensorFlow: feed keep_prob 1.
    """
    # microsoft/onnxruntime#4589, onnx/onnx#2831, pytorch/pytorch#105661
    kept = seen != 0
    share = float(kept.mean())
    solid = kept & (np.abs(y) > 1e-2)
    if 0.05 < share < 0.98 and solid.sum() > 8:
        factor = float(np.median(seen[solid] / y[solid]))
        if factor > 1.01 and abs(1 / factor - share) < 0.2:  # what is kept is divided by the probability to be kept
            yield f"rate {1 - 1 / factor:.2g}", np.where(kept, y * factor, 0.0)
