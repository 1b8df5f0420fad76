"""What weights alone leave open of gated cells: the activation of the gates, the form of a GRU, the forget bias.

A reading names them in `open`; its network holds the framework's defaults until they are settled here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify.activations import ACTIVATIONS, ALIASES
from rnnverify.adapters.reading import Open, Reading
from rnnverify.assumptions.labelled import by_label
from rnnverify.canonical import GATES, Direction, Layer, Network
from rnnverify.errors import OptionError, printable
from rnnverify.sides import Opened

_INPUT, _FORGET = (GATES["lstm"].index(gate) for gate in "if")


@dataclass(frozen=True)
class _Fact:
    """One such thing: its option, and how it is found in a layer and put there. Values are as options give them."""

    name: Open
    option: str
    words: str
    wanted: str  # what the option takes, in words
    parse: Callable[[str], str | None]  # in its normal form; None where it is no such value
    concerns: Callable[[Layer], bool]
    of: Callable[[Layer], str]
    put: Callable[[Layer, str], Layer]
    lends: Callable[[Reading], bool] = lambda _: True  # whether what another file states may hold for this one, too


def settle_gates(
    sides: Sequence[Opened], activations: Sequence[str], resets: Sequence[str], forget_biases: Sequence[str]
) -> tuple[Opened, ...]:
    """Settle each from its options, else from another side that states it, else as the framework's default.

    Raises OptionError where an option names no value or side, contradicts a file, or would have no effect.
    """
    settled = tuple(sides)
    for fact, given in zip(FACTS, (activations, resets, forget_biases), strict=True):
        settled = _settle_fact(fact, settled, given)
    return settled


def said_again(sides: Sequence[Opened], network: Network) -> tuple[tuple[str, ...], ...]:
    """For each fact, options of `settle_gates` that give what `network` has to those of `sides` that leave it open."""
    options: list[tuple[str, ...]] = []
    for fact in FACTS:
        values = set(_values(fact, network)) - {""}
        labels = [side.source.label for side in sides if _open(fact, side)]
        options.append(tuple(f"{label}={value}" for label in labels for value in values) if len(values) == 1 else ())
    return tuple(options)


def _settle_fact(fact: _Fact, sides: Sequence[Opened], given: Sequence[str]) -> tuple[Opened, ...]:
    wanted = _parsed(fact, given, [side.source.label for side in sides])
    everywhere = wanted.pop("", "")
    if everywhere and not any(_open(fact, side) for side in sides):
        raise OptionError(f"{fact.option} {everywhere}: no file leaves that open, there is nothing to assume")
    donors = [side for side in sides if side.network and not _open(fact, side) and any(_values(fact, side.network))]
    return tuple(_settled(fact, side, everywhere, wanted, donors) for side in sides)


def _parsed(fact: _Fact, given: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    found = by_label(fact.option, given, labels)
    for label, value in found.items():
        normal = fact.parse(value)
        if normal is None:
            said = f"{label}={value}" if label else value
            raise OptionError(f"{fact.option} {printable(said)}: wanted {fact.wanted}")
        found[label] = normal
    return found


def _settled(fact: _Fact, side: Opened, everywhere: str, wanted: Mapping[str, str], donors: Sequence[Opened]) -> Opened:
    label, network = side.source.label, side.network
    own = _values(fact, network) if network else ()
    if label in wanted and not _open(fact, side):
        found = f"states {'/'.join(dict.fromkeys(own))}" if any(own) else f"has no {fact.words} to set"
        if set(own) == {wanted[label]}:
            return side
        raise OptionError(f"{fact.option} {label}={wanted[label]}: {side.source} {found}")
    if not _open(fact, side):
        return side
    value = wanted.get(label, everywhere)
    if value:
        return _with(fact, side, (value,) * len(own), f"set by {fact.option}")
    how = f"({fact.option} {label}=... sets another)"
    for donor in donors:
        theirs = _values(fact, donor.network) if donor.network else ()
        if len(theirs) == len(own) and all(theirs) and donor.reading and fact.lends(donor.reading):
            return _with(fact, side, theirs, f"not in the file, borrowed from {donor.source.label} {how}")
    return _with(fact, side, own, f"not in the file, the framework's default {how}")


def _open(fact: _Fact, side: Opened) -> bool:
    return side.reading is not None and fact.name in side.reading.open


def _values(fact: _Fact, network: Network) -> tuple[str, ...]:
    return tuple(fact.of(layer) for layer in network.layers if fact.concerns(layer))


def _with(fact: _Fact, side: Opened, values: Sequence[str], why: str) -> Opened:
    assert side.reading is not None
    rest = iter(values)
    layers = [fact.put(y, next(rest)) if fact.concerns(y) else y for y in side.reading.network.layers]
    words = f"{fact.words} {'/'.join(dict.fromkeys(values))}: {why}"
    reading = replace(side.reading, network=Network(tuple(layers)), assumptions=(words, *side.reading.assumptions))
    return replace(side, reading=reading)


def _activation(text: str) -> str | None:
    name = ALIASES.get(text, text)
    return name if name in ACTIVATIONS else None


def _reset(text: str) -> str | None:
    return text if text in ("before", "after") else None


def _number(text: str) -> str | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return _shown(value) if math.isfinite(value) else None


def _shown(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _forget_bias(layer: Layer) -> str:
    """What is added at run time, where it is one number; empty where the file holds a bias for each unit."""
    added = {float(value) for d in layer.directions for value in d.bias_recurrent[_FORGET]}
    return _shown(added.pop()) if len(added) == 1 else ""


def _with_forget_bias(layer: Layer, value: str) -> Layer:
    def change(direction: Direction) -> Direction:
        bias = np.array(direction.bias_recurrent)
        bias[_FORGET] = float(value)
        if _coupled(direction):
            bias[_INPUT] = -float(value)
        return replace(direction, bias_recurrent=bias)

    return replace(layer, directions=tuple(map(change, layer.directions)))


def _coupled(direction: Direction) -> bool:
    """Whether the input gate is 1 minus the forget gate, in what is added too: then it has to stay so.

    A cell with four gates may hold such weights, and adds to the forget gate alone.
    """
    opposite = ((w[_INPUT] == -w[_FORGET]).all() for w in (direction.kernel, direction.bias_recurrent))
    return bool(direction.kernel[_FORGET].any() and all(opposite))


FACTS = (
    _Fact(
        "gate_activation",
        "--gate-activation",
        "gate activation",
        f"one of {', '.join(ACTIVATIONS)}",
        _activation,
        lambda layer: layer.cell != "rnn",
        lambda layer: layer.gating.activation,
        lambda layer, value: replace(layer, gating=replace(layer.gating, activation=value)),
    ),
    _Fact(
        "reset",
        "--gru-reset",
        "reset gate",
        "before or after (the recurrent product)",
        _reset,
        lambda layer: layer.cell == "gru",
        lambda layer: "after" if layer.gating.reset_after else "before",
        lambda layer, value: replace(layer, gating=replace(layer.gating, reset_after=value == "after")),
    ),
    _Fact(
        "forget_bias",
        "--forget-bias",
        "forget bias",
        "a number",
        _number,
        lambda layer: layer.cell == "lstm",
        _forget_bias,
        _with_forget_bias,
        lends=lambda reading: reading.adds_forget_bias,
    ),
)
"""In the order in which `Assumed` has their options."""
