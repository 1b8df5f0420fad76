"""Could this comparison have seen a difference? Known mistakes are planted, and run on the same inputs.

A mistake is caught where the budget of the comparison does not explain what the wrong network does. A short part of the
inputs catches nearly all of them at next to no cost; only for the rest are all inputs run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify import reference
from rnnverify.canonical import Array, Network
from rnnverify.mistakes import planted
from rnnverify.rounding import check
from rnnverify.trace import Batch, Run

_SEQUENCES, _STEPS = 4, 12


@dataclass(frozen=True)
class Adequacy:
    """How many of the mistakes that apply to the network this comparison would have caught."""

    planted: int
    survivors: tuple[str, ...]  # in words


def examine(network: Network, batches: Sequence[Batch], dtype: str) -> Adequacy:
    """Plant every mistake that applies in `network`, and judge it on `batches` by the budget of `dtype`."""
    wrong = list(planted(network))
    short = [_part(batch) for batch in batches]
    survivors = [pair for pair in wrong if not _is_caught(network, pair[1], short, dtype)]
    return Adequacy(
        planted=len(wrong),
        survivors=tuple(words for words, other in survivors if not _is_caught(network, other, batches, dtype)),
    )


def _part(batch: Batch) -> Batch:
    h0 = None if batch.h0 is None else tuple(h[:_SEQUENCES] for h in batch.h0)
    return replace(batch, x=batch.x[:_SEQUENCES, :_STEPS], h0=h0)


def _is_caught(network: Network, wrong: Network, batches: Sequence[Batch], dtype: str) -> bool:
    trace = reference.run(wrong, batches)
    runs = [_as_computed(run, dtype) for run in trace.runs.values()]
    budget = check(network, runs, dtype)
    return budget is not None and not budget.holds


def _as_computed(run: Run, dtype: str) -> Run:
    """The run as a framework of that dtype would have recorded it."""

    def narrow(array: Array) -> Array:
        with np.errstate(over="ignore"):
            return array.astype(dtype)

    return replace(run, y=narrow(run.y), states=tuple(narrow(states) for states in run.states))
