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
    act, gate = activation(layer.activation), activation(layer.gating.activation)
    H = direction.hidden_size
    kernel, bias_input = side_by_side(direction.kernel), side_by_side(direction.bias_input)
    recurrent_kernel, bias_recurrent = side_by_side(direction.recurrent_kernel), side_by_side(direction.bias_recurrent)

    def step_after(projected: Array, state: State) -> State:
        h = state[0]
        carried = h @ recurrent_kernel + bias_recurrent
        gates = gate(projected[:, : 2 * H] + carried[:, : 2 * H])
        r, z = gates[:, :H], gates[:, H:]
        n = act(projected[:, 2 * H :] + r * carried[:, 2 * H :])
        return (z * h + (1 - z) * n,)

    def step_before(projected: Array, state: State) -> State:
        h = state[0]
        gates = gate(projected[:, : 2 * H] + h @ recurrent_kernel[:, : 2 * H] + bias_recurrent[: 2 * H])
        r, z = gates[:, :H], gates[:, H:]
        n = act(projected[:, 2 * H :] + (r * h) @ recurrent_kernel[:, 2 * H :] + bias_recurrent[2 * H :])
        return (z * h + (1 - z) * n,)

    return Recurrence(lambda x: x @ kernel + bias_input, step_after if layer.gating.reset_after else step_before)
