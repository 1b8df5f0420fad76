"""`--search`: inputs on which two networks part as far as a search by gradient can drive them.

Random inputs can miss the worst by a factor of hundreds: a latch that no random sequence closes. So the reference of
both networks is climbed by back-propagation through time: every restart steps toward the corner of the box |x| <= limit
that the sign of the gradient points to (Frank-Wolfe), keeps what is better and halves the step where it is not. What
was found is run by the frameworks like any other batch: the deviation in the report is one that was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify import reference
from rnnverify.canonical import Array, Network
from rnnverify.comparison import Pair, Searched
from rnnverify.deviation import largest
from rnnverify.gradient import input_gradient
from rnnverify.trace import SEARCH, ZERO, Batch, Run, Trace
from rnnverify.weights import compare_weights

_RESTARTS, _ITERATIONS = 16, 40
_KEPT = 4  # sequences of each pair
_STEPS = 128
_LOOKED_AT = 64  # of the random sequences, for the worst to start from
_WORK = 2**27  # weights times steps times restarts, at most: larger networks are searched on fewer steps
_TOO_LARGE = 1e30  # states that float32 would overflow on soon


@dataclass(frozen=True)
class Plan:
    """The sequences to run beside the others, and which of them belong to which side."""

    batch: Batch | None
    rows: dict[str, slice]  # by the label of the candidate
    notes: dict[str, str]  # why a candidate has none


def plan(sides: Sequence[tuple[str, Network | None]], batches: Sequence[Batch]) -> Plan:
    """Search the worst inputs of each network of `sides` against the first, no larger than those of `batches`."""
    random = next((batch.x for batch in batches if batch.name == ZERO), None)
    found: list[Array] = []
    rows: dict[str, slice] = {}
    notes: dict[str, str] = {}
    baseline = sides[0][1]
    for label, network in sides[1:]:
        notes[label] = _why_not(sides, baseline, network, random)
        if not notes[label]:
            assert baseline and network and random is not None
            rows[label] = slice(_KEPT * len(found), _KEPT * (len(found) + 1))
            found.append(worst_inputs(baseline, network, random).astype(random.dtype))
    return Plan(Batch(SEARCH, np.concatenate(found)) if found else None, rows, notes)


def with_searched(pairs: Sequence[Pair], plan: Plan, traces: Sequence[Trace]) -> tuple[Pair, ...]:
    """Every pair with what the search found for it; `traces` of the baseline, then of each candidate."""
    both = zip(pairs, traces[1:], strict=True)
    return tuple(replace(pair, searched=_searched(plan, pair.candidate, traces[0], trace)) for pair, trace in both)


def _why_not(
    sides: Sequence[tuple[str, Network | None]], baseline: Network | None, network: Network | None, random: Array | None
) -> str:
    if any(other is None for _, other in sides):
        return "not made: a recording cannot be run on other inputs"
    assert baseline and network
    tensors, reasons = compare_weights(baseline, network)
    if not reasons and not any(tensor.differing for tensor in tensors):
        return "nothing to search, the weights are equal"
    if random is None or not np.any(random):
        return "not made: all inputs are zero, and the search keeps to their range"
    return ""


def _searched(plan: Plan, label: str, baseline: Trace, candidate: Trace) -> Searched:
    if label not in plan.rows:
        return Searched(None, None, plan.notes[label])
    rows = plan.rows[label]
    found = largest(baseline.runs[SEARCH].y[rows], candidate.runs[SEARCH].y[rows])
    return Searched(found, largest(baseline.runs[ZERO].y, candidate.runs[ZERO].y))


def worst_inputs(baseline: Network, candidate: Network, random: Array) -> Array:
    """The sequences (4, t, I) on which the two part most, the worst first; t is T, or less where that is long.

    `random` (B, T, I) are the sequences that it starts from, and whose largest value is the limit.
    """
    weights = sum(array.size for network in (baseline, candidate) for _, array in network.tensors())
    steps = int(np.clip(_WORK // (_RESTARTS * weights), 8, min(_STEPS, random.shape[1])))
    limit = float(max(random.max(), -random.min()))
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is never accepted
        starts = _starts(baseline, candidate, random[:_LOOKED_AT, :steps].astype(np.float64), limit)
        climb = _Climb(baseline, candidate, limit, starts)
        for _ in range(_ITERATIONS):
            climb.step()
    order = np.argsort(-climb.deviation, kind="stable")[:_KEPT]
    return climb.x[order]


def _starts(baseline: Network, candidate: Network, random: Array, limit: float) -> Array:
    """(restarts, t, I): the worst of the random sequences, and corners of the box, some held through time."""
    deviation = np.abs(_difference(baseline, candidate, random)[2]).max(axis=(1, 2))
    kept = random[np.argsort(-np.nan_to_num(deviation), kind="stable")[: _RESTARTS // 2]]
    rng = np.random.default_rng(0)
    corners = rng.choice([-limit, limit], size=(_RESTARTS - len(kept), *random.shape[1:]))
    corners[::2] = corners[::2, :1]
    return np.concatenate([kept, corners])


def _difference(baseline: Network, candidate: Network, x: Array) -> tuple[Run, Run, Array]:
    """Both references on x (R, t, I), and candidate minus baseline (R, t, F)."""
    ours, theirs = (reference.run(network, [Batch(ZERO, x)]).runs[ZERO] for network in (baseline, candidate))
    return ours, theirs, theirs.y - ours.y


class _Climb:
    """All restarts at once. Each climbs one output, or whichever is the largest at the time."""

    def __init__(self, baseline: Network, candidate: Network, limit: float, x: Array) -> None:
        self._networks, self._limit = (baseline, candidate), limit
        self._alpha = np.full(len(x), 0.5)
        self.x = x  # (R, t, I)
        self.deviation = np.full(len(x), -1.0)  # (R,)
        self._height = np.full(len(x), -np.inf)  # of what each restart climbs
        self._gradient = np.zeros_like(x)
        difference = _difference(baseline, candidate, x)[2]
        self._fixed = _goals(difference, candidate)
        self._accept(x)

    def step(self) -> None:
        toward = np.where(self._gradient == 0, self.x, self._limit * np.sign(self._gradient))
        alpha = self._alpha[:, None, None]
        better = self._accept((1 - alpha) * self.x + alpha * toward)
        self._alpha = np.where(better, np.minimum(1.5 * self._alpha, 1.0), 0.5 * self._alpha)

    def _accept(self, x: Array) -> Array:
        """Take over each sequence of x that is higher than what its restart has; (R,) which ones."""
        ours, theirs, difference = _difference(*self._networks, x)
        size = np.abs(difference).reshape(len(x), -1)
        usable = np.isfinite(size).all(axis=1) & (np.abs(theirs.y).reshape(len(x), -1).max(axis=1) < _TOO_LARGE)
        goal = np.where(self._fixed < 0, np.argmax(size, axis=1), self._fixed)
        reached = difference.reshape(len(x), -1)[np.arange(len(x)), goal]
        better: Array = usable & (np.abs(reached) > self._height)
        if better.any():
            weights = np.zeros(difference.shape)
            weights.reshape(len(x), -1)[np.arange(len(x)), goal] = np.where(reached < 0, -1.0, 1.0)
            baseline, candidate = self._networks
            gradient = input_gradient(candidate, theirs, weights) - input_gradient(baseline, ours, weights)
            self._gradient[better] = np.nan_to_num(gradient[better])
            self._height[better] = np.abs(reached[better])
            self.deviation[better] = size[better].max(axis=1)
            self.x[better] = x[better]
        return better


def _goals(difference: Array, network: Network) -> Array:
    """(R,): the output that each restart climbs, as an index into (t, F); -1 for the largest, whichever it is.

    The others take the outputs that differ most at the step that was processed last, and those at their worst step.
    """
    R, t, F = difference.shape
    size = np.nan_to_num(np.abs(difference)).max(axis=0)  # (t, F)
    top = network.layers[-1]
    last = 0 if top.directions[-1].reverse and top.time_restored and not top.bidirectional else t - 1
    at_last, anywhere = np.argsort(-size[last], kind="stable"), np.argsort(-size.max(axis=0), kind="stable")
    goals = np.full(R, -1)
    for r in range(R):
        k = r // 3
        if r % 3 == 1:
            goals[r] = last * F + at_last[k % F]
        elif r % 3 == 2:
            unit = anywhere[k % F]
            goals[r] = int(np.argmax(size[:, unit])) * F + unit
    return goals
