"""What a model did on given inputs: the batches that it ran, and what came of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from rnnverify.canonical import Array

ZERO = "zero"
FROM_H0 = "from_h0"
PROBE = "probe"
SEARCH = "search"
LENGTHS = "lengths"
TOKENS = "tokens"
FILED = (ZERO, FROM_H0, PROBE, LENGTHS)
"""The batches that a file can hold."""


@dataclass(frozen=True)
class Batch:
    """Sequences to run, all from zeros or each from its own initial state."""

    name: str  # ZERO, FROM_H0, PROBE, LENGTHS, SEARCH or TOKENS; the last two never in a file
    x: Array  # (B, T, I); of a recording made from tokens (B, T), whole numbers, until their embedding is known
    h0: tuple[Array, ...] | None = None  # per layer and direction (B, P)
    c0: tuple[Array, ...] | None = None  # per LSTM layer and direction (B, H); None where there are none, or from zeros
    lengths: Array | None = None  # (B,) steps of each sequence, the rest is padding; None: all of them

    @property
    def starts(self) -> tuple[Array, ...]:
        """All initial states that are not zeros by default."""
        return (*(self.h0 or ()), *(self.c0 or ()))

    def starting(self, change: Callable[[Array], Array]) -> Batch:
        """This batch with every initial state (B, ...) changed."""
        h0, c0 = (states and tuple(change(state) for state in states) for states in (self.h0, self.c0))
        return replace(self, h0=h0, c0=c0)

    def of(self, sequences: slice, steps: slice = slice(None)) -> Batch:
        """Some sequences and steps of this batch, from the same initial states."""
        lengths = None if self.lengths is None else np.minimum(self.lengths, self.x.shape[1])[sequences]
        kept = self.starting(lambda state: state[sequences])
        return replace(kept, x=self.x[sequences, steps], lengths=lengths)

    def fingerprint(self) -> str:
        """SHA-256 of the values, as float64: a trace made from other inputs is told by it."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        lengths = () if self.lengths is None else (self.lengths,)
        for array in (self.x, *self.starts, *lengths):
            digest.update(repr(array.shape).encode())
            steps = array.shape[1] if array.ndim == 3 else 1
            for start in range(0, steps, 1024):  # long inputs are read block by block
                block = array[:, start : start + 1024] if array.ndim == 3 else array
                digest.update(np.ascontiguousarray(block, dtype="<f8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Run:
    """One batch and what came out of it."""

    batch: Batch
    y: Array  # (B, T, F)
    h_n: tuple[Array, ...] = ()  # per layer and direction (B, P); empty where they were not recorded
    states: tuple[Array, ...] = ()  # per layer and direction (B, T, P), as the layer emits them; empty likewise
    c_n: tuple[Array, ...] = ()  # per LSTM layer and direction (B, H); empty likewise
    model_out: Array | None = None  # (B, T, O) of the dense layers behind, or (B, 1, O): of the last step alone


@dataclass(frozen=True)
class Trace:
    """All runs of one model, by the name of their batch."""

    runs: Mapping[str, Run]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    not_compared: tuple[str, ...] = ()  # arrays of a trace file that are not part of the form

    @property
    def batches(self) -> tuple[Batch, ...]:
        return tuple(run.batch for run in self.runs.values())
