"""Cells as TensorFlow has them today, and how the arrays of a file fill them.

A direction of the request is {"kernel", "bias", and for a Keras cell "recurrent_kernel"}: names of the file's arrays,
"state_first" true where the kernel is over [h, x]. One of a gated cell is {"kind", "cell": what the file calls it, and
by role the names of its arrays, several where they are shards of rows}; `adapters/tensorflow/gates.py` has the kinds.
The "gates" of its layer say what the file does not hold.
"""

from __future__ import annotations

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tf-keras holds these cells today; Keras 3 does not

from typing import Any

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1

PEEPHOLES = ("peephole_f", "peephole_i", "peephole_o")  # in the order in which an LSTMCell has them
ROLES = {
    "": ("kernel", "bias"),
    "lstm": ("kernel", "bias", *PEEPHOLES, "projection"),
    "coupled": ("kernel", "bias", *PEEPHOLES, "projection"),
    "gru": ("kernel", "bias", "candidate_kernel", "candidate_bias"),
    "cudnn_gru": ("kernel", "recurrent_kernel", "bias"),
    "keras_lstm": ("kernel", "recurrent_kernel", "bias"),
    "keras_gru": ("kernel", "recurrent_kernel", "bias"),
}
"""What the variables of the cell that is made hold, in the order in which it has them; some lack."""
GONE = {
    "coupled": "an LSTMCell with opposite gates computes what a CoupledInputForgetGateLSTMCell did",
    "cudnn_gru": "a Keras GRUCell with reset_after computes what a CudnnCompatibleGRUCell did",
}


def activation_named(name: Any) -> Any:
    functions = {
        "linear": tf.identity,
        "silu": tf.nn.swish,  # its name in TensorFlow 1, too
        "exponential": tf.exp,
        "hard_sigmoid": lambda x: tf.nn.relu6(x + 3.0) / 6.0,
        "keras2_hard_sigmoid": lambda x: tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0),
        "mish": lambda x: x * tf.tanh(tf.nn.softplus(x)),
        "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    }
    if name in functions:
        return functions[name]
    function = getattr(tf.nn, name, None)
    if function is None:
        raise ValueError("TensorFlow has no activation %s" % name)
    return function


class Cell:
    """One direction of a layer: `native`, the cell, and what belongs into its variables."""

    def __init__(self, spec: Any, direction: Any, activation: str, gates: Any, number: int, dtype: Any) -> None:
        self.names = direction
        self.kind = direction.get("kind", "")
        self.is_lstm = gates["cell"] == "lstm"
        H = spec["hidden_size"]
        self.sizes = (spec.get("state_size", H), H) if self.is_lstm else (H,)
        self.input_size = spec["input_size"]
        self.is_keras = self.kind.startswith("keras") or self.kind == "cudnn_gru"
        common = {"activation": activation_named(activation), "dtype": dtype}
        if self.is_keras:
            self.native = self.of_keras(H, gates, common)
        elif self.is_lstm:
            self.added = gates["forget_bias"][number]
            self.native = self.lstm(spec, H, dict(common, forget_bias=self.added), gates["cell_clip"])
        else:
            cells = v1.nn.rnn_cell
            self.native = (cells.GRUCell if self.kind == "gru" else cells.BasicRNNCell)(H, **common)

    def lstm(self, spec: Any, H: int, common: Any, clip: float) -> Any:
        basic = self.names["cell"].lower().replace("_", "").startswith("basic")
        if basic and not clip and not any(role in self.names for role in ROLES["lstm"][2:]):
            return v1.nn.rnn_cell.BasicLSTMCell(H, **common)
        projected = spec["state_size"] if "projection" in self.names else None
        looks = "peephole_f" in self.names
        return v1.nn.rnn_cell.LSTMCell(H, use_peepholes=looks, num_proj=projected, cell_clip=clip or None, **common)

    def of_keras(self, H: int, gates: Any, common: Any) -> Any:
        common = dict(common, recurrent_activation=activation_named(gates["gate_activation"]))
        common["use_bias"] = "bias" in self.names
        if self.is_lstm:
            return tf.keras.layers.LSTMCell(H, **common)
        return tf.keras.layers.GRUCell(H, reset_after=gates["reset_after"], **common)

    @property
    def shown(self) -> Any:
        return "Keras " * self.is_keras + type(self.native).__name__

    def packed(self, states: Any) -> Any:
        """[h] or [h, c] as the cell takes them."""
        if not self.is_lstm:
            return states[0]
        return list(states) if self.is_keras else v1.nn.rnn_cell.LSTMStateTuple(states[1], states[0])

    def unpacked(self, state: Any) -> Any:
        """What the cell gives as [h] or [h, c]."""
        if not self.is_lstm:
            return [state[0] if isinstance(state, (list, tuple)) else state]
        return list(state) if self.is_keras else [state.h, state.c]

    def variables(self) -> Any:
        """(variable, what it holds) for each."""
        roles = [role for role in ROLES[self.kind] if self.kind == "" or role in self.filled()]
        variables = self.native.weights if self.is_keras else self.native.variables
        if len(roles) != len(variables):
            raise ValueError("%s has %d variables, wanted %d" % (self.shown, len(variables), len(roles)))
        return list(zip(variables, roles))

    def filled(self) -> Any:
        """The roles that there are arrays for."""
        opposite = {"peephole_i"} if self.kind == "coupled" and "peephole_f" in self.names else set()
        return {"kernel", "recurrent_kernel", "bias"} if self.kind == "cudnn_gru" else set(self.names) | opposite

    def loader_names(self) -> Any:
        """{name in the file: variable} where the file's variables are those of this cell, else why they are not."""
        if self.kind in GONE:
            return GONE[self.kind] + ", which TensorFlow no longer has"
        if self.kind == "":
            other = not self.names.get("bias") or self.names.get("recurrent_kernel") or self.names.get("state_first")
            return "the file's variables are not those of a BasicRNNCell" if other else self.by_name()
        if any(len(self.names[role]) != 1 for _, role in self.variables()):
            return "the file holds its variables in shards"
        return self.by_name()

    def by_name(self) -> Any:
        return {name_of(self.names[role]): variable for variable, role in self.variables()}

    def values(self, tensors: Any) -> Any:
        """(variable, its array) for each."""
        return list(zip([variable for variable, _ in self.variables()], self.arrays(tensors)))

    def arrays(self, tensors: Any) -> Any:
        def held(role: str) -> Any:
            names = self.names[role]
            parts = [np.asarray(tensors[name]) for name in ([names] if isinstance(names, str) else names)]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        if self.kind == "":
            return vanilla(self.names, held, self.sizes[0])
        if self.kind == "coupled":
            return coupled([role for _, role in self.variables()], held, self.added)
        if self.kind == "cudnn_gru":
            return cudnn_gru(self.input_size, held)
        return [held(role) for _, role in self.variables()]


def name_of(names: Any) -> str:
    return names if isinstance(names, str) else names[0]


def vanilla(names: Any, held: Any, H: int) -> Any:
    kernel = held("kernel")
    if names.get("recurrent_kernel"):
        kernel = np.concatenate([kernel, held("recurrent_kernel")])
    elif names.get("state_first"):  # a BasicRNNCell has the input's rows first
        kernel = np.roll(kernel, -H, axis=0)
    return [kernel, held("bias") if names.get("bias") else np.zeros(H)]


def coupled(roles: Any, held: Any, added: float) -> Any:
    """j, f, o as i, j, f, o, with the weights of i opposite to those of f, and to the forget bias `added` to them."""

    def wide(array: Any, more: float) -> Any:
        j, f, o = np.split(array, 3, axis=-1)
        return np.concatenate([-f - more, j, f, o], axis=-1)

    made = {"kernel": lambda: wide(held("kernel"), 0.0), "bias": lambda: wide(held("bias"), added)}
    made["peephole_i"] = lambda: -held("peephole_f")
    return [made[role]() if role in made else held(role) for role in roles]


def cudnn_gru(I: int, held: Any) -> Any:
    """Gates r, u over [x, h] and a candidate in two halves, as the kernels z, r, h of Keras."""
    (r, u), (b_r, b_u) = np.split(held("kernel"), 2, axis=1), np.split(held("bias"), 2)
    none = np.zeros_like(b_r)
    return [
        np.concatenate([u[:I], r[:I], held("input_kernel")], axis=1),
        np.concatenate([u[I:], r[I:], held("hidden_kernel")], axis=1),
        np.stack(
            [np.concatenate([b_u, b_r, held("input_bias")]), np.concatenate([none, none, held("hidden_bias")])],
        ),
    ]
