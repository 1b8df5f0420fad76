"""Could this comparison have seen a difference? Known mistakes are planted, and run on the same inputs.

A mistake is caught where the budget of the comparison does not explain what the wrong network does. A short part of the
inputs catches nearly all of them at next to no cost; only for the rest are all inputs run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify import reference
from rnnverify.canonical import Network
from rnnverify.gate_mistakes import GATE_MISTAKES
from rnnverify.mistakes import MISTAKES, planted
from rnnverify.precision import narrow
from rnnverify.rounding import Judges, explains
from rnnverify.step import Allowed
from rnnverify.trace import PROBE, Batch, Run

_SEQUENCES, _STEPS, _PROBES = 4, 12, 30


@dataclass(frozen=True)
class Adequacy:
    """How many of the mistakes that apply to the network this comparison would have caught."""

    planted: int
    survivors: tuple[str, ...]  # those it would not have caught, in words
    semantic: tuple[str, ...] = ()  # survivors that leave every weight as it is: equal weights do not exclude them


class Examiner:
    """Plants mistakes in networks and judges them on `batches`; a network that comes again is not examined again."""

    def __init__(self, batches: Sequence[Batch], allowed: Allowed | None = None) -> None:
        self.batches, self.allowed = tuple(batches), allowed
        self._known: dict[tuple[str, str], Adequacy] = {}

    def examine(self, network: Network, dtype: str) -> Adequacy:
        """Every mistake that applies to `network`, by the budget of `dtype`."""
        key = network.fingerprint(), dtype
        if key not in self._known:
            self._known[key] = self._examine(network, dtype)
        return self._known[key]

    def _examine(self, network: Network, dtype: str) -> Adequacy:
        wrong = list(planted(network, (*MISTAKES, *GATE_MISTAKES)))
        short = [_part(batch) for batch in self.batches]
        judges: Judges = {}
        survivors = [pair for pair in wrong if not self._catches(network, pair[1], short, dtype, judges)]
        left = [pair for pair in survivors if not self._catches(network, pair[1], self.batches, dtype, judges)]
        semantic = tuple(words for words, other in left if _same_weights(network, other))
        return Adequacy(planted=len(wrong), survivors=tuple(words for words, _ in left), semantic=semantic)

    def _catches(self, network: Network, wrong: Network, batches: Sequence[Batch], dtype: str, judges: Judges) -> bool:
        for batch in batches:
            (run,) = reference.run(wrong, [batch]).runs.values()
            if not explains(network, _as_computed(run, dtype), dtype, self.allowed, judges):
                return True
        return False


def _part(batch: Batch) -> Batch:
    if batch.name == PROBE:  # each row holds one weight of every unit: some from all over
        return batch.of(slice(0, None, max(1, len(batch.x) // _PROBES)))
    return batch.of(slice(_SEQUENCES), slice(_STEPS))


def _same_weights(a: Network, b: Network) -> bool:
    return all(np.array_equal(ours, theirs) for (_, ours), (_, theirs) in zip(a.tensors(), b.tensors(), strict=True))


def _as_computed(run: Run, dtype: str) -> Run:
    """The run as a framework of that dtype would have recorded it."""

    states = tuple(narrow(each, dtype) for each in run.states)
    return replace(run, y=narrow(run.y, dtype), states=states, c_n=())  # final cell states are not always recorded
