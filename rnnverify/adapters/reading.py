"""What an adapter makes of a file: the canonical network, and where every tensor went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rnnverify.around import NOTHING, Around
from rnnverify.canonical import Array, Network
from rnnverify.containers.contents import FrameworkName

Open = Literal["gate_activation", "reset", "forget_bias"]
"""What a file of gated cells may leave open: the activation of its gates, whether the reset gate of its GRUs acts
before or after the recurrent product, and what is added to the forget gates of its LSTMs at run time."""


@dataclass(frozen=True)
class Recipe:
    """How the file's own framework is to run it: the file's own tensors in the file's own layout, nothing converted.

    `layers` holds plain JSON values, one dict for each layer object that the runner makes; which keys, the runner of
    `framework` says (`runners/run_<framework>.py`). Each dict names its arrays by keys of `tensors`.
    """

    framework: FrameworkName
    layers: tuple[Mapping[str, object], ...]
    tensors: Mapping[str, Array]
    loadable: bool = True  # the framework's own loader may be tried on the file
    why_not: str = ""  # why it may not, for the report
    cannot_run: str = ""  # why the framework cannot run this at all, whoever loads it; then the reference does
    head: tuple[Mapping[str, object], ...] = ()  # {"kernel": key of tensors, "bias": key or "", "transposed": (O, F)}


@dataclass(frozen=True)
class Reading:
    """One recurrent part of a file, in canonical form."""

    network: Network
    recipe: Recipe
    part: str  # the selector that picks this part again
    activation_stated: bool  # False: the file does not say, and the network carries the framework's default
    roles: Mapping[str, str]  # tensor name -> where it went, such as "layer 0 kernel (transposed)"
    unused: Mapping[str, str] = field(default_factory=dict)  # tensor name -> why it was not compared
    not_compared: tuple[str, ...] = ()  # layers around the recurrent ones, such as "Embedding 'embedding_1'"
    assumptions: tuple[str, ...] = ()  # facts the file does not state, other than the activation
    notes: tuple[str, ...] = ()  # what the user should know: steps returned, dtype computed in, ...
    settled_layers: tuple[int, ...] = ()  # layers whose activation is known though that of others is not
    open: frozenset[Open] = frozenset()  # what the network has as the framework's default, since no file states it
    around: Around = NOTHING  # the embedding and the dense layers that belong to it
    adds_forget_bias: bool = False  # its LSTMs do so at run time, each by a number that is no part of the weights
    mask_value: float | None = None  # steps whose features all equal it are skipped; None: no step is
