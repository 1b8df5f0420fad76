"""BasicRNNCell, and Keras' SimpleRNNCell driven by dynamic_rnn, from their arrays.

BasicRNNCell has one kernel (I+H, H) over the concatenation [x, h] and one bias (H,): rows 0 to I-1 are for
the input (`_linear([inputs, state])`, tensorflow/python/ops/rnn_cell_impl.py, TensorFlow 0.12 to 2.21).
SimpleRNNCell has `kernel` (I, H), `recurrent_kernel` (H, H) and `bias` (H,).
"""

from __future__ import annotations

import numpy as np

from rnnverify.adapters.tensorflow.arrays import SAVE_AGAIN, Arrays
from rnnverify.adapters.tensorflow.names import Cell, is_keras
from rnnverify.canonical import Array, Direction


def vanilla_direction(arrays: Arrays, cell: Cell, where: str, state_first: bool) -> Direction:
    """The weights of `cell`, which is called `where`, as one that runs forward. Raises `FileError`."""
    kernel = arrays.matrix(cell, "kernel")
    H = kernel.shape[1]
    if "recurrent_kernel" in cell.variables:
        recurrent = arrays.matrix(cell, "recurrent_kernel")
        arrays.check_shape(cell, "recurrent_kernel", recurrent, (H, H), H)
        arrays.place(cell, "kernel", f"{where} kernel")
        arrays.place(cell, "recurrent_kernel", f"{where} recurrent kernel")
    else:
        if is_keras(cell):
            raise arrays.refused(f"{cell.shown} has no recurrent_kernel", SAVE_AGAIN)
        inputs = len(kernel) - H
        if inputs < 1:
            found = f"{arrays.name(cell, 'kernel')} has shape {kernel.shape}: no row is left for the input"
            raise arrays.refused(found, "a BasicRNNCell has a kernel (I+H, H)")
        first, second = (H, 0) if state_first else (0, inputs)
        rows = f"(rows {first}-{first + inputs - 1}) and recurrent kernel (rows {second}-{second + H - 1})"
        arrays.place(cell, "kernel", f"{where} kernel {rows}")
        kernel, recurrent = kernel[first : first + inputs], kernel[second : second + H]
    bias = _bias(arrays, cell, where, H, kernel.dtype)
    return Direction(
        kernel=kernel[None],
        recurrent_kernel=recurrent[None],
        bias_input=bias[None],
        bias_recurrent=np.zeros_like(bias)[None],
        has_bias="bias" in cell.variables,
    )


def _bias(arrays: Arrays, cell: Cell, where: str, H: int, dtype: np.dtype[np.generic]) -> Array:
    may_lack = is_keras(cell) or cell.by_graph  # use_bias=False; a BasicRNNCell always has one
    if may_lack and "bias" not in cell.variables:
        return np.zeros(H, dtype=dtype)
    bias = arrays.array(cell, "bias")
    arrays.check_shape(cell, "bias", bias, (H,), H)
    arrays.place(cell, "bias", f"{where} bias")
    return bias
