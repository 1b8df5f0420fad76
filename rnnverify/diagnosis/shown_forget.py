"""The constant by which the forget gate of a recorded LSTM is off: from zeros, the second step of a sequence shows it.

The first cell state is c = i g, as the forget gate has nothing to keep. After the next, h' = o out(c') shows c', and
f = (c' - i' g') / c the gate, whose sigmoid can be turned back. The weights of the network are taken to be right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnverify.activations import activation
from rnnverify.canonical import Array, Network
from rnnverify.diagnosis.shown import INVERSES, turned_back
from rnnverify.recorded import Steps, recorded_steps
from rnnverify.trace import Run

_ENOUGH = 4  # gates
_CLEAR = 0.01  # cell states, and distances of the gate from its bounds, at least
_SPREAD = 1e-3  # of what the gates show, at the median: beyond it, it is no constant


def forget_constants(network: Network, runs: Sequence[Run]) -> list[float | None]:
    """What is added to the forget gate of each direction beside the weights of `network`; None where none shows."""
    from_zeros = [run for run in runs if run.batch.h0 is None and run.y.shape[1] > 1]
    by_run = [list(recorded_steps(network, run)) for run in from_zeros]
    with np.errstate(all="ignore"):
        return [_constant([_shown(steps) for steps in of_one]) for of_one in zip(*by_run, strict=False)]


def _constant(shown: Sequence[Array]) -> float | None:
    every = np.concatenate(shown)
    every = every[np.isfinite(every)]
    if len(every) < _ENOUGH:
        return None
    value = float(np.median(every))
    return round(value, 3) if np.median(np.abs(every - value)) <= _SPREAD else None


def _shown(steps: Steps) -> Array:
    """What each gate of the second step is off by (n,); NaN where it does not show."""
    d, gating = steps.direction, steps.layer.gating
    out = gating.output or steps.layer.activation
    plain = d.peephole is None and d.projection is None and steps.layer.cell == "lstm"
    if not plain or out not in INVERSES or gating.activation != "sigmoid" or gating.cell_clip:
        return np.zeros(0)
    x, h = steps.x[:, :2].astype(np.float64), steps.h[:, :2].astype(np.float64)
    before = np.stack([np.zeros_like(h[:, 0]), h[:, 0]], axis=1)
    v = np.einsum("bti,gih->gbth", x, d.kernel) + np.einsum("bti,gih->gbth", before, d.recurrent_kernel)
    v = v + d.bias[:, None, None]
    gate, act = activation("sigmoid"), activation(steps.layer.activation)
    new = gate(v[0]) * act(v[2])
    c = new[:, 0]
    kept = (turned_back(out, h[:, 1] / gate(v[3][:, 1])) - new[:, 1]) / c
    clear = (np.abs(c) > _CLEAR) & (kept > _CLEAR) & (kept < 1 - _CLEAR)
    return np.asarray(np.where(clear, np.log(kept / (1 - kept)) - v[1][:, 1], np.nan)).ravel()
