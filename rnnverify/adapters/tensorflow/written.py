"""One direction of a layer as a cell of TensorFlow 1, and what such cells cannot hold.

The layouts are those of `vanilla` and `gates`, the names those of TensorFlow 1.2 to 2.21. An LSTM
cell adds its forget bias at run time: what is stored for the forget gate is less by it. It is the one that the network
was read with, where that stands apart, and else 1, with which cells are made by default.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.adapters.layout import one_bias
from rnnverify.adapters.tensorflow.gates import LSTM
from rnnverify.canonical import GATES, PEEPHOLES, Array, Direction, Layer, reorder

_FORGET = GATES["lstm"].index("f")
_SCOPES = {"BasicRNNCell": "basic_rnn_cell", "GRUCell": "gru_cell", "BasicLSTMCell": "basic_lstm_cell"}
_SCOPES["LSTMCell"] = "lstm_cell"


def class_of(layer: Layer) -> str:
    """The cell that holds `layer`."""
    if layer.cell == "rnn":
        return "BasicRNNCell"
    if layer.cell == "gru":
        return "GRUCell"
    more = any(d.peephole is not None or d.projection is not None for d in layer.directions)
    return "LSTMCell" if more or layer.gating.cell_clip else "BasicLSTMCell"


def scope_of(layer: Layer) -> str:
    """How TensorFlow names that cell."""
    return _SCOPES[class_of(layer)]


def beyond(layer: Layer) -> str:
    """Why no cell holds `layer`; empty where one does."""
    if layer.cell == "rnn":
        return ""
    if layer.gating.activation != "sigmoid":
        return f"has the gate activation {layer.gating.activation}, and the gates of TensorFlow's cells are sigmoid"
    if layer.cell == "gru" and layer.gating.reset_after:
        return "resets after the recurrent product, and a GRUCell does so before it"
    if layer.gating.output not in ("", layer.activation):
        return f"has the activation {layer.gating.output} of its cell state, and an LSTMCell has that of its candidate"
    if len({d.peephole is None for d in layer.directions}) > 1:
        return "has peepholes in one direction only"
    return ""


def facts_of(layer: Layer) -> dict[str, Any]:
    """What the writer has to know of the cells of `layer`: JSON values."""
    facts: dict[str, Any] = {"class": class_of(layer), "units": layer.hidden_size, "activation": layer.activation}
    if layer.cell == "lstm":
        facts["forget_bias"] = [forget_bias(direction) for direction in layer.directions]
    if facts["class"] == "LSTMCell":
        first = layer.directions[0]
        facts["peepholes"] = first.peephole is not None
        facts["projection"] = None if first.projection is None else layer.state_size
        facts["cell_clip"] = layer.gating.cell_clip or None
    return facts


def forget_bias(direction: Direction) -> float:
    """What the cell of an LSTM is to add: what `bias_recurrent` holds and nothing else, otherwise 1."""
    apart = _apart(direction)
    return 1.0 if apart is None else apart


def arrays_of(layer: Layer, direction: Direction, where: str, target: Path, dtype: np.dtype[Any]) -> dict[str, Array]:
    """The variables of the cell by their names in its scope. UnsupportedError where biases add up to too much."""
    bias = one_bias(target, where, _less_forget_bias(layer, direction), dtype)
    weights = np.concatenate([direction.kernel, direction.recurrent_kernel], axis=1)
    if layer.cell == "rnn":
        return {"kernel": weights[0].astype(dtype), "bias": bias[0]}
    if layer.cell == "gru":
        return {
            "gates/kernel": _beside(weights[:2], dtype),
            "gates/bias": bias[:2].reshape(-1),
            "candidate/kernel": weights[2].astype(dtype),
            "candidate/bias": bias[2],
        }
    found = {"kernel": _beside(reorder(weights, GATES["lstm"], LSTM), dtype)}
    found["bias"] = reorder(bias, GATES["lstm"], LSTM).reshape(-1)
    if direction.peephole is not None:
        found |= {f"w_{g}_diag": w.astype(dtype) for g, w in zip(PEEPHOLES, direction.peephole, strict=True)}
    if direction.projection is not None:
        found["projection/kernel"] = direction.projection.astype(dtype)
    return found


def _beside(weights: Array, dtype: np.dtype[Any]) -> Array:
    """(G, R, H) as (R, G * H)."""
    return np.concatenate(list(weights), axis=1).astype(dtype)


def _apart(direction: Direction) -> float | None:
    """The forget bias that `bias_recurrent` holds, where it holds one number for that gate, and zeros."""
    added = direction.bias_recurrent
    rest = np.delete(added, _FORGET, axis=0)
    one = added[_FORGET, 0]
    return float(one) if one != 0 and not rest.any() and (added[_FORGET] == one).all() else None


def _less_forget_bias(layer: Layer, direction: Direction) -> Direction:
    """`direction` with the biases that are stored: of an LSTM without what its cell adds."""
    if layer.cell != "lstm":
        return direction
    if _apart(direction) is not None:
        return replace(direction, bias_recurrent=np.zeros_like(direction.bias_recurrent))
    recurrent = direction.bias_recurrent.astype(np.float64)
    recurrent[_FORGET] -= 1.0
    return replace(direction, bias_recurrent=recurrent)
