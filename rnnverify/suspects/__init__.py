"""Which weight is wrong, where one side is known by behaviour only: every recorded state is one step, and a regression
of what the known weights leave of it points to those that are others.

`vanilla` undoes the activation; `gated` fits what a state is made of. This is a diagnosis, never a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rnnverify.canonical import CellKind, Network
from rnnverify.recorded import Steps, recorded_steps
from rnnverify.suspects import gated, vanilla
from rnnverify.suspects.suspect import FEW, Suspect
from rnnverify.trace import Run

__all__ = ["Suspect", "sentences", "suspects"]

REGRESSIONS: dict[CellKind, Callable[[Sequence[Steps], str], Iterator[Suspect | None]]] = {
    "rnn": vanilla.of_direction,
    "gru": gated.of_direction,
    "lstm": gated.of_direction,
}
"""The suspects of one direction in all runs, for the dtype that rounded; None where no few weights are the mistake."""


def suspects(network: Network, runs: Sequence[Run], dtype: str) -> tuple[Suspect, ...]:
    """The few weights that the steps of `runs` say are not those of `network`; empty where none or many stand out.

    `dtype` is the one whose rounding stands in the states.
    """
    found: list[Suspect] = []
    with np.errstate(all="ignore"):  # states that overflow are left out
        for group in zip(*(recorded_steps(network, run, dtype) for run in runs), strict=False):
            for suspect in REGRESSIONS[group[0].layer.cell](group, dtype):
                if suspect is None or len(found) == FEW:
                    return ()
                found.append(suspect)
    return tuple(found)


def sentences(found: Sequence[Suspect], side: str, known: str) -> Iterator[str]:
    """What the report says; `side` is the label that was recorded, `known` the one whose weights are known."""
    for suspect in found:
        at = ", ".join(str(i) for i in suspect.index)
        off = f"seems to be off by {suspect.off_by:.2g} in {side} ({known} has {suspect.known:.3g})"
        yield f"{suspect.tensor} [{at}] of {suspect.where} {off}"
