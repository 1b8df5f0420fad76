"""A dense layer by torch.nn.functional.linear, and the activations that may stand behind one."""

from __future__ import annotations

from typing import Any

import torch

functional = torch.nn.functional

ACTIVATIONS: Any = {
    "linear": lambda z: z,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "exponential": torch.exp,
    "softmax": lambda z: functional.softmax(z, dim=-1),
    "hard_sigmoid": lambda z: torch.clamp(z / 6 + 0.5, 0, 1),
    "keras2_hard_sigmoid": lambda z: torch.clamp(0.2 * z + 0.5, 0, 1),
    "leaky_relu": lambda z: functional.leaky_relu(z, 0.2),
    "silu": lambda z: z * torch.sigmoid(z),
    "mish": lambda z: z * torch.tanh(functional.softplus(z)),
    "hard_tanh": functional.hardtanh,
    "hard_silu": lambda z: z * torch.clamp(z / 6 + 0.5, 0, 1),
    "log_sigmoid": functional.logsigmoid,
    "tanh_shrink": functional.tanhshrink,
    "squareplus": lambda z: 0.5 * (z + torch.sqrt(z * z + 4)),
}


def dense(y: Any, kernel: Any, bias: Any, activation: str) -> Any:
    """y (b, t, F) through kernel (F, O) and bias (O,) or None: (b, t, O), tensors all of them."""
    function = ACTIVATIONS.get(activation) or getattr(functional, activation, None)
    if function is None:
        raise ValueError("PyTorch has no activation %s" % activation)
    return function(functional.linear(y, kernel.t(), bias))
