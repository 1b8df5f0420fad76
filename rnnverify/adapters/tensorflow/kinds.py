"""The gated cells of TensorFlow 1 by the names of their variables.

    cell                     variables, TensorFlow 1.2 to 2.21       before
    GRUCell, GRUBlockCellV2  gates/{kernel,bias}                     gates/{weights,biases}, Gates/Linear/{Matrix,Bias}
                             candidate/{kernel,bias}                 candidate/..., Candidate/Linear/...
    GRUBlockCell             w_ru, b_ru, w_c, b_c
    CudnnCompatibleGRUCell   gates/..., candidate/{input,hidden}_projection/{kernel,bias}
    BasicLSTMCell            kernel, bias                            weights, biases; Linear/{Matrix,Bias}
    LSTMCell, LSTMBlockCell  kernel, bias, w_{i,f,o}_diag            weights, biases; W_0, B, W_{I,F,O}_diag; W, b,
    LSTMBlockFusedCell                                               wci, wcf, wco
    projection of LSTMCell   projection/kernel                       projection/weights, W_P_0
    CoupledInputForgetGate-  W_0, B, W_{F,O}_diag, W_P_0
    LSTMCell

(tensorflow/python/ops/rnn_cell_impl.py, contrib/rnn/python/ops/{gru_ops,lstm_ops,rnn_cell}.py and
contrib/cudnn_rnn/python/ops/cudnn_rnn_ops.py, 0.12 to 1.15.) W_0, W_1, ... are the rows of one kernel in shards.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_GRU = {"grucell", "grublockcell", "grublockcellv2"}
_LSTM = {
    *("basiclstmcell", "lstmcell", "lstmblockcell", "lstmblockwrapper", "lstmfusedcell", "lstmblockfusedcell"),
    *("cudnncompatiblelstmcell", "coupledinputforgetgatelstmcell"),
}
_CUDNN_GRU = "cudnncompatiblegrucell"
_WORDS = _GRU | _LSTM | {_CUDNN_GRU}

_ANY_KERNEL = r"kernel|weights|Linear/Matrix"
_ANY_BIAS = r"bias|biases|Linear/Bias"
_LSTM_ROLES = {
    rf"{_ANY_KERNEL}|W|W_\d{{1,4}}": "kernel",
    rf"{_ANY_BIAS}|B|b": "bias",
    "recurrent_kernel": "recurrent_kernel",
    "w_i_diag|W_I_diag|wci": "peephole_i",
    "w_f_diag|W_F_diag|wcf": "peephole_f",
    "w_o_diag|W_O_diag|wco": "peephole_o",
    r"projection/(?:kernel|weights)|W_P_\d{1,4}": "projection",
}
_GRU_ROLES = {
    rf"[gG]ates/(?:{_ANY_KERNEL})|w_ru|kernel": "kernel",
    rf"[gG]ates/(?:{_ANY_BIAS})|b_ru|bias": "bias",
    "recurrent_kernel": "recurrent_kernel",
    rf"[cC]andidate/(?:{_ANY_KERNEL})|w_c": "candidate_kernel",
    rf"[cC]andidate/(?:{_ANY_BIAS})|b_c": "candidate_bias",
    "candidate/input_projection/kernel": "input_kernel",
    "candidate/input_projection/bias": "input_bias",
    "candidate/hidden_projection/kernel": "hidden_kernel",
    "candidate/hidden_projection/bias": "hidden_bias",
}
_NAMED = re.compile(r"(?:\w+_)?(?:lstm|gru)_?\d*", re.IGNORECASE)
"""What a user may call a cell, beside the names that it has by default: LSTMCell(8, name="encoder_lstm")."""
_GATES = re.compile(r"(?:gates|candidate)/")
_NUMBER = re.compile(r"(?:_\d+)?$")


def word_of(name: str) -> str:
    """The name of a cell without what versions and counters change: `lstm_cell_1` and `LSTMCell` are `lstmcell`."""
    return _NUMBER.sub("", name).replace("_", "").lower()


def is_gated(cell: str) -> bool:
    """Whether `cell` is the name of a gated cell that is known."""
    return word_of(cell) in _WORDS


def gated_variable(name: str) -> tuple[str, str, str] | None:
    """The scope of a gated cell, its name, and which of its variables `name` is, empty where it has none so called.

    None where no word of `name` is a gated cell that is known, and none that its user named belongs to it.
    """
    words = name.split("/")
    for k, text in enumerate(words[:-1]):
        if is_gated(text):
            return "/".join(words[:k]), text, _role("/".join(words[k + 1 :]), _roles(text))
    for k, text in enumerate(words[:-1]):
        variable = "/".join(words[k + 1 :])
        if (_NAMED.fullmatch(text) or _GATES.match(variable)) and (role := _role(variable, _roles(text))):
            return "/".join(words[:k]), text, role
    return None


def lstm_variable(name: str) -> tuple[str, str]:
    """The scope in which `name` may be a variable of an LSTM, and which; empty where it is so called by none."""
    words = name.split("/")
    for k in range(1, len(words)):
        if role := _role("/".join(words[k:]), _LSTM_ROLES):
            return "/".join(words[:k]), role
    return "", ""


def kind_of(cell: str, roles: Collection[str]) -> str:
    """Which layout (`tensorflow_gates.LAYOUTS`) the cell of that name has, whose variables are `roles`."""
    word = word_of(cell)
    if word == "coupledinputforgetgatelstmcell":
        return "coupled"
    if word == _CUDNN_GRU:
        return "cudnn_gru"
    family = "lstm" if _is_lstm(cell) else "gru"
    return f"keras_{family}" if "recurrent_kernel" in roles else family


def adds_no_forget_bias(cell: str) -> bool:
    """Whether the cell of that name adds none: a CudnnCompatibleLSTMCell has its own in the file."""
    return word_of(cell) == "cudnncompatiblelstmcell"


def _is_lstm(cell: str) -> bool:
    """Whether a cell of that name is an LSTM, where it is either that or a GRU."""
    return word_of(cell) in _LSTM or "lstm" in cell.lower()


def _roles(cell: str) -> dict[str, str]:
    return _LSTM_ROLES if _is_lstm(cell) else _GRU_ROLES


def _role(variable: str, roles: dict[str, str]) -> str:
    return next((role for pattern, role in roles.items() if re.fullmatch(pattern, variable)), "")
