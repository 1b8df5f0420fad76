"""The variables of gated cells, by the names of every generation of TensorFlow 1."""

from collections.abc import Mapping

import numpy as np

from rnnverify.canonical import Array

rng = np.random.default_rng(1)

LSTMS: dict[str, dict[str, str]] = {
    "RNN/BasicLSTMCell": {"kernel": "Linear/Matrix", "bias": "Linear/Bias"},
    "rnn/basic_lstm_cell": {"kernel": "weights", "bias": "biases"},
    "b/basic_lstm_cell_1": {"kernel": "kernel", "bias": "bias"},
    "RNN/LSTMCell": {"kernel": "W_0", "bias": "B", "i": "W_I_diag", "f": "W_F_diag", "o": "W_O_diag", "P": "W_P_0"},
    "rnn/lstm_cell": {
        "kernel": "kernel",
        "bias": "bias",
        "i": "w_i_diag",
        "f": "w_f_diag",
        "o": "w_o_diag",
        "P": "projection/kernel",
    },
    "v/lstm_cell": {"kernel": "weights", "bias": "biases", "P": "projection/weights"},
    "RNN/LSTMBlockCell": {"kernel": "W", "bias": "b", "i": "wci", "f": "wcf", "o": "wco"},
    "lstm_block_wrapper": {"kernel": "weights", "bias": "biases"},
    "lstm_fused_cell": {"kernel": "kernel", "bias": "bias", "i": "w_i_diag", "f": "w_f_diag", "o": "w_o_diag"},
    "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell": {"kernel": "kernel", "bias": "bias"},
}
"""Scope of a cell whose gates are i, j, f, o to its variables."""

GRUS: dict[str, dict[str, str]] = {
    "RNN/GRUCell": {
        "kernel": "Gates/Linear/Matrix",
        "bias": "Gates/Linear/Bias",
        "candidate": "Candidate/Linear/Matrix",
        "candidate_bias": "Candidate/Linear/Bias",
    },
    "rnn/gru_cell": {
        "kernel": "gates/weights",
        "bias": "gates/biases",
        "candidate": "candidate/weights",
        "candidate_bias": "candidate/biases",
    },
    "r/gru_cell_2": {
        "kernel": "gates/kernel",
        "bias": "gates/bias",
        "candidate": "candidate/kernel",
        "candidate_bias": "candidate/bias",
    },
    "rnn/GRUBlockCell": {"kernel": "w_ru", "bias": "b_ru", "candidate": "w_c", "candidate_bias": "b_c"},
    "rnn/GRUBlockCellV2": {
        "kernel": "gates/kernel",
        "bias": "gates/bias",
        "candidate": "candidate/kernel",
        "candidate_bias": "candidate/bias",
    },
}
"""Scope of a cell whose gates are r, u to its variables."""


def some(*shape: int) -> Array:
    return rng.normal(size=shape).astype(np.float32)


def lstm(scope: str, I: int, H: int, P: int = 0, names: Mapping[str, str] | None = None) -> dict[str, Array]:
    """The arrays of an LSTM in `scope`; a projection where P is not 0."""
    names = names or LSTMS[scope]
    shapes = {"kernel": (I + (P or H), 4 * H), "bias": (4 * H,), "P": (H, P), **dict.fromkeys("ifo", (H,))}
    return {f"{scope}/{name}": some(*shapes[role]) for role, name in names.items() if role != "P" or P}


def gru(scope: str, I: int, H: int, names: Mapping[str, str] | None = None) -> dict[str, Array]:
    """The arrays of a GRU in `scope`."""
    names = names or GRUS[scope]
    shapes = {"kernel": (I + H, 2 * H), "bias": (2 * H,), "candidate": (I + H, H), "candidate_bias": (H,)}
    return {f"{scope}/{name}": some(*shapes[role]) for role, name in names.items()}
