"""A dense layer by torch.nn.functional.linear, and the activations that may stand behind one."""

from __future__ import annotations

from typing import Any

import torch

ACTIVATIONS: Any = {
    "linear": lambda z: z,
    "exponential": lambda z: torch.exp(z),
    "softmax": lambda z: torch.nn.functional.softmax(z, dim=-1),
    "hard_sigmoid": lambda z: torch.clamp(z / 6 + 0.5, 0, 1),
    "keras2_hard_sigmoid": lambda z: torch.clamp(0.2 * z + 0.5, 0, 1),
    "leaky_relu": lambda z: torch.nn.functional.leaky_relu(z, 0.2),
    "silu": lambda z: z * torch.sigmoid(z),
    "mish": lambda z: z * torch.tanh(torch.nn.functional.softplus(z)),
    "hard_tanh": lambda z: torch.clamp(z, -1, 1),
    "hard_silu": lambda z: z * torch.clamp(z / 6 + 0.5, 0, 1),
    "log_sigmoid": lambda z: torch.nn.functional.logsigmoid(z),
    "tanh_shrink": lambda z: z - torch.tanh(z),
    "squareplus": lambda z: 0.5 * (z + torch.sqrt(z * z + 4)),
}


def dense(y: Any, kernel: Any, bias: Any, activation: str) -> Any:
    """y (b, t, F) through kernel (F, O) and bias (O,) or None: (b, t, O), tensors all of them."""
    function = ACTIVATIONS.get(activation) or getattr(torch, activation, None)
    function = function or getattr(torch.nn.functional, activation, None)
    if function is None:
        raise ValueError("PyTorch has no activation %s" % activation)
    return function(torch.nn.functional.linear(y, kernel.t(), bias))
