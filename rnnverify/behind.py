"""What the dense layers behind the recurrent part read and what they make of it, on both sides: at every step, or at
the last one alone, where a side recorded no more.

A model that returns no sequences goes on with the last step. Where the top layer runs backward that may be two things:
the outputs at the last step of the input (`out[:, -1]`), or the final states, which a backward run reaches at the first
step (Keras `return_sequences=False`, `h_n` of PyTorch). A recording does not say: where no file does, what its outputs
are nearer to is taken, and the report says which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rnnverify.around import Head, apply
from rnnverify.canonical import Array, Layer
from rnnverify.observed import Observed
from rnnverify.precision import narrow
from rnnverify.recorded import is_merged, merged
from rnnverify.trace import PROBE, Run

EVERY, LAST, FINAL = "steps", "last steps", "final states"


@dataclass(frozen=True)
class Behind:
    """One side's part of one batch."""

    batch: str
    at: str  # EVERY, LAST or FINAL
    read: Array  # (B, t, F); t is T or 1
    made: Array  # (B, t, O)


def behind(a: Observed, b: Observed) -> list[tuple[Behind, Behind]]:
    """Each batch but the probes, where both sides ran the dense layers and those of one are known."""
    head, network = a.around.head or b.around.head, a.network or b.network
    pairs = _recorded(a, b)
    if head is None or network is None or not pairs:
        return []
    final = a.around.reads_final or b.around.reads_final
    ways = [list(_pairs((a, b), pairs, end, network.layers[-1], head)) for end in ends(network.layers[-1], final)]
    return min((way for way in ways if len(way) == len(pairs)), key=lambda way: _off(head, way), default=[])


def unread(a: Observed, b: Observed, compared: Sequence[tuple[Behind, Behind]]) -> str:
    """Why outputs of dense layers that both sides have are not `compared`; empty where they are, or are none."""
    if compared or not (a.around.head or b.around.head) or not _recorded(a, b):
        return ""
    return "the outputs of the dense layers are not compared: what they read, the last states, was not recorded"


def _recorded(a: Observed, b: Observed) -> list[tuple[Run, Run]]:
    """Each batch but the probes of which both sides have outputs of dense layers."""
    both = [(run, b.trace.runs.get(name)) for name, run in a.trace.runs.items() if name != PROBE]
    return [(ours, theirs) for ours, theirs in both if theirs and _has(ours) and _has(theirs)]


def read_at(at: str, layer: Layer, run: Run, dtype: str = "") -> Array | None:
    """What `layer`, the top one, hands to the dense layers (B, t, F); None where that was not recorded."""
    y = run.y
    if at != FINAL or not _turned_back(layer):
        return y if at == EVERY else y[:, -1:]
    if not layer.bidirectional:
        return y[:, :1]
    if not is_merged(layer):
        P = layer.state_size
        return np.concatenate([y[:, -1:, :P], y[:, :1, P:]], axis=2)
    if len(run.states) < 2:
        return None
    return merged(layer, (run.states[-2][:, -1:], run.states[-1][:, :1]), dtype)


def ends(layer: Layer, final: bool = False) -> tuple[str, ...]:
    """What may be meant by the last step of `layer`, the top one; `final` where a file says that it is the latter."""
    if not _turned_back(layer):
        return (LAST,)
    return (FINAL,) if final else (LAST, FINAL)


def _turned_back(layer: Layer) -> bool:
    return layer.time_restored and any(direction.reverse for direction in layer.directions)


def whole(run: Run) -> bool:
    """Whether what the dense layers make of every step was recorded, and not of the last one alone."""
    return run.model_out is not None and run.model_out.shape[1] == run.y.shape[1]


def _has(run: Run) -> bool:
    return run.model_out is not None


def _pairs(
    sides: tuple[Observed, Observed], pairs: Sequence[tuple[Run, Run]], end: str, top: Layer, head: Head
) -> Iterator[tuple[Behind, Behind]]:
    for runs in pairs:
        at = EVERY if all(whole(run) for run in runs) else end
        ours, theirs = (_of(side, run, at, top, head) for side, run in zip(sides, runs, strict=True))
        if ours and theirs:
            yield ours, theirs


def _of(side: Observed, run: Run, at: str, top: Layer, head: Head) -> Behind | None:
    """That of `side`, whose own dense layers are applied where they were run on other steps than these."""
    read, made = read_at(at, top, run, side.arithmetic), run.model_out
    if read is None or made is None:
        return None
    if at == LAST and whole(run):
        made = made[:, -1:]
    elif at == FINAL and whole(run):
        made = narrow(apply(side.around.head or head, read), side.arithmetic)
    return Behind(run.batch.name, at, read, made)


def _off(head: Head, way: Sequence[tuple[Behind, Behind]]) -> float:
    """How far what the dense layers make of the last steps lies from what was recorded of them."""
    made = [(apply(head, np.asarray(each.read)), each.made) for pair in way for each in pair if each.at != EVERY]
    alike = all(ours.shape == theirs.shape for ours, theirs in made)
    return max((float(np.abs(ours - theirs).max()) for ours, theirs in made), default=0.0) if alike else np.inf
