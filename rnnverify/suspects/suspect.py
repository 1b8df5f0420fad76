"""A weight that the steps of a recording point to."""

from __future__ import annotations

from dataclasses import dataclass

FEW = 3
"""Suspects in all; where more stand out, no single weight is the mistake."""

SCORE = 8.0
"""How many times the usual what a weight explains must stand out."""


@dataclass(frozen=True)
class Suspect:
    """A weight that the residuals point to."""

    where: str  # such as "layer 0", or "the reset gate of layer 0"
    tensor: str  # "kernel", "recurrent kernel", "bias", "recurrent bias", "peephole" or "projection"
    index: tuple[int, ...]  # (input, unit), or (unit,) where each unit has one
    off_by: float  # an estimate
    known: float  # the weight of the network that is known
