"""What a file does not state, and where it comes from then: an option, another side, or the framework's default.

One module for each kind of fact: `structure`, of files of weights alone; `gates`, of gated cells; `activation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnnverify.assumptions.activation import settle_activations
from rnnverify.assumptions.gates import settle_gates
from rnnverify.assumptions.structure import settle_structure
from rnnverify.sides import Opened

__all__ = ["OPTIONS", "Assumed", "settle", "settle_activations"]

OPTIONS = ("activation", "merge_mode", "go_backwards", "gate_activation", "gru_reset", "forget_bias")
"""What each field of `Assumed` is called as an option (with - for _) and as a key of the configuration, in order."""


@dataclass(frozen=True)
class Assumed:
    """What the user says of files that do not state it. Each is `VALUE` for all of them, or `B=VALUE` for one side."""

    activations: tuple[str, ...] = ()  # "relu", "B=relu"
    merge_modes: tuple[str, ...] = ()  # "sum", "B=sum": how a Bidirectional of a Keras or Flax file of weights merges
    go_backwards: tuple[str, ...] = ()  # "B": a layer of such a file runs backwards
    gate_activations: tuple[str, ...] = ()  # "hard_sigmoid", "B=keras2_hard_sigmoid": of the gates of GRU and LSTM
    gru_resets: tuple[str, ...] = ()  # "before", "B=after": where the reset gate of a GRU acts
    forget_biases: tuple[str, ...] = ()  # "1.0", "B=0": what is added to an LSTM's forget gate at run time


def settle(sides: Sequence[Opened], assumed: Assumed) -> tuple[Opened, ...]:
    """Give every network what its file does not state. Raises OptionError where an option names nothing there is,
    contradicts a file, or would have no effect."""
    settled = settle_structure(sides, assumed.merge_modes, assumed.go_backwards)
    settled = settle_gates(settled, assumed.gate_activations, assumed.gru_resets, assumed.forget_biases)
    return settle_activations(settled, assumed.activations)
