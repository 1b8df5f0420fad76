"""The gated recurrent unit, with p = x W + b_ih of each gate:

    r = s(p_r + h U_r + b_hr)      z = s(p_z + h U_z + b_hz)

    n = act(p_n + r * (h U_n + b_hn))       reset after the product (PyTorch, cuDNN, Keras reset_after, Flax)
    n = act(p_n + (r * h) U_n + b_hn)       reset before it (Keras 1 and 2, TensorFlow 1, ONNX by default)

    h' = z * h + (1 - z) * n

Where z keeps the other side, the weights of z are negated: 1 - s(v) = s(-v) for every s that is used for gates.
"""

from __future__ import annotations

from rnnverify.activations import activation
from rnnverify.canonical import Array, Direction, Layer
from rnnverify.cells.recurrence import Recurrence, State, side_by_side


def recurrence(layer: Layer, direction: Direction) -> Recurrence:
    """The step of `direction`."""
    kernels = (side_by_side(w) for w in (direction.kernel, direction.recurrent_kernel))
    return formula(layer, *kernels, *(side_by_side(b) for b in (direction.bias_input, direction.bias_recurrent)))


def formula(
    layer: Layer, kernel: Array, recurrent_kernel: Array, bias_input: Array, bias_recurrent: Array
) -> Recurrence:
    """The step with weights (..., I, 3 H), (..., H, 3 H) and biases (..., 3 H), float64, their gates side by side.

    States and inputs are (..., B, H) and (..., B, I) then; biases of several directions are (..., 1, 3 H).
    """
    act, gate = activation(layer.activation), activation(layer.gating.activation)
    H = kernel.shape[-1] // 3
    gates, candidate = recurrent_kernel[..., : 2 * H], recurrent_kernel[..., 2 * H :]

    def step_after(projected: Array, state: State) -> State:
        h = state[0]
        carried = h @ recurrent_kernel + bias_recurrent
        opened = gate(projected[..., : 2 * H] + carried[..., : 2 * H])
        r, z = opened[..., :H], opened[..., H:]
        n = act(projected[..., 2 * H :] + r * carried[..., 2 * H :])
        return (z * h + (1 - z) * n,)

    def step_before(projected: Array, state: State) -> State:
        h = state[0]
        opened = gate(projected[..., : 2 * H] + h @ gates + bias_recurrent[..., : 2 * H])
        r, z = opened[..., :H], opened[..., H:]
        n = act(projected[..., 2 * H :] + (r * h) @ candidate + bias_recurrent[..., 2 * H :])
        return (z * h + (1 - z) * n,)

    return Recurrence(lambda x: x @ kernel + bias_input, step_after if layer.gating.reset_after else step_before)
