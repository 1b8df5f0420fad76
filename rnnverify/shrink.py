"""A failing case made small: the shortest prefix of its steps, and as many of its inputs zero as can be.

The references of the two networks say what still fails, by a margin, so that the frameworks' own rounding cannot close
the gap again. Work is bounded by counts, never by the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify import reference
from rnnverify.canonical import Array, Network
from rnnverify.deviation import Tolerance, measure
from rnnverify.rounding import check
from rnnverify.trace import Batch, Run

_MARGIN = 4.0  # times what rounding allows
_WORK = 2**31  # multiplications of all attempts together
_ATTEMPTS = 400

Fails = Callable[[Array], bool]


@dataclass(frozen=True)
class Judged:
    """How the references of two networks are held against each other."""

    baseline: Network
    candidate: Network
    dtype: str  # of the candidate's states
    by_budget: bool  # step by step against the weights of the baseline; else by `limit` alone
    limit: Tolerance | None  # that deviations have to exceed; None: the budget decides

    def fails(self, batch: Batch) -> bool:
        """Whether the networks differ on `batch` beyond the margin."""
        ours, theirs = (self._as_computed(network, batch) for network in (self.baseline, self.candidate))
        if self.by_budget:
            budget = check(self.baseline, [theirs], self.dtype, self.candidate)
            if budget is None or not budget.used > _MARGIN:
                return False
        return self.limit is None or measure(ours.y, theirs.y, self.limit).beyond > 0

    def _as_computed(self, network: Network, batch: Batch) -> Run:
        (run,) = reference.run(network, [batch]).runs.values()
        with np.errstate(over="ignore"):
            return replace(
                run,
                y=run.y.astype(self.dtype),
                h_n=tuple(h.astype(self.dtype) for h in run.h_n),
                c_n=tuple(c.astype(self.dtype) for c in run.c_n),
                states=tuple(states.astype(self.dtype) for states in run.states),
            )


def shrink(judged: Judged, case: Batch, steps: int) -> Batch | None:
    """`case` (one sequence) cut and zeroed where it still fails; None where the references do not differ on it.

    `steps` is a guess of how long the prefix has to be.
    """
    length = _shortest(judged, case, steps)
    if length is None:
        return None
    short = replace(case, x=np.array(case.x[:, :length]))
    zeros = [tuple(np.zeros((1, size), case.x.dtype) for size in each) for each in judged.baseline.state_sizes()]
    parts = [np.array(state) for state in (*(short.h0 or zeros[0]), *(short.c0 or zeros[1]))]
    count = len(zeros[0])
    weights = sum(array.size for _, array in (*judged.baseline.tensors(), *judged.candidate.tensors()))
    attempts = int(np.clip(_WORK // (weights * length), 20, _ATTEMPTS))

    def batch_of(values: Array) -> Batch:
        *states, x = _cut(values, [*parts, short.x])
        h0, c0 = tuple(states[:count]), tuple(states[count:])
        return replace(short, x=x, h0=h0 if short.h0 else None, c0=c0 if short.h0 and c0 else None)

    def fails(values: Array) -> bool:
        nonlocal attempts
        attempts -= 1
        return attempts >= 0 and judged.fails(batch_of(values))

    values = np.concatenate([array.reshape(-1) for array in (*parts, short.x)])
    for groups in _groups([part.size for part in parts], length, short.x.shape[2]):
        values = _zero(values, groups, fails)
    return batch_of(values)


def _shortest(judged: Judged, case: Batch, guess: int) -> int | None:
    """The fewest steps after which `case` fails: doubled from the guess until it does, then halved."""

    def fails(length: int) -> bool:
        return judged.fails(replace(case, x=case.x[:, :length]))

    T = int(case.x.shape[1])
    below, length = 0, min(max(guess, 1), T)
    while not fails(length):
        if length == T:
            return None
        below, length = length, min(2 * length, T)
    while length - below > 1:
        middle = (below + length) // 2
        below, length = (below, middle) if fails(middle) else (middle, length)
    return length


def _cut(values: Array, like: Sequence[Array]) -> list[Array]:
    """`values`, one after the other, in the shapes of `like`."""
    ends = np.cumsum([array.size for array in like])[:-1]
    return [part.reshape(array.shape) for part, array in zip(np.split(values, ends), like, strict=True)]


def _groups(sizes: Sequence[int], T: int, I: int) -> list[list[Array]]:
    """Places to zero together, the largest first: initial states of `sizes`, features, steps, and each by itself."""
    start = sum(sizes)
    x = start + np.arange(T * I).reshape(T, I)
    states = np.split(np.arange(start), np.cumsum(sizes)[:-1])
    each = [np.array([place]) for place in range(start + T * I)]
    return [list(states), list(x.T), list(x), each, each]


def _zero(values: Array, groups: Sequence[Array], fails: Fails) -> Array:
    """`values` with every group zeroed that can be; what cannot go as a whole is tried in halves."""
    groups = [group for group in groups if values[group].any()]
    if not groups:
        return values
    trial: Array = values.copy()
    trial[np.concatenate(groups)] = 0
    if fails(trial):
        return trial
    if len(groups) == 1:
        return values
    half = len(groups) // 2
    return _zero(_zero(values, groups[:half], fails), groups[half:], fails)
