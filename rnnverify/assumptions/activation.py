"""The activation of the new state, which weights alone leave open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rnnverify.activations import ACTIVATIONS, ALIASES
from rnnverify.adapters import Reading
from rnnverify.assumptions.labelled import by_label
from rnnverify.errors import OptionError, printable
from rnnverify.sides import Opened


def settle_activations(sides: Sequence[Opened], options: Sequence[str]) -> tuple[Opened, ...]:
    """Give every network whose file does not state an activation the one of an option, of another side, or the default.

    `options` are `relu` (for every side that states none) or `B=relu` (for that side). Raises OptionError where an
    option names no activation or side, contradicts a file, or would have no effect.
    """
    everywhere, by_side = _parse_activations(options, [side.source.label for side in sides])
    donor = next((s for s in sides if s.reading and s.reading.activation_stated), None)
    settled = tuple(_settle(side, everywhere, by_side, donor) for side in sides)
    if everywhere and not any(s.reading and not s.reading.activation_stated for s in sides):
        raise OptionError(f"--activation {everywhere}: every file states its activation, there is nothing to assume")
    return settled


def _parse_activations(options: Sequence[str], labels: list[str]) -> tuple[str, Mapping[str, str]]:
    found = by_label("--activation", options, labels)
    for label, name in found.items():
        found[label] = ALIASES.get(name, name)
        if found[label] not in ACTIVATIONS:
            given = f"{label}={name}" if label else name
            raise OptionError(f"--activation {printable(given)}: known are {', '.join(ACTIVATIONS)}")
    return found.pop("", ""), found


def _settle(side: Opened, everywhere: str, by_side: Mapping[str, str], donor: Opened | None) -> Opened:
    if side.reading is None:
        if side.source.label in by_side:
            raise OptionError(
                f"--activation {side.source.label}=...: that side is a trace, it has no activation to set"
            )
        return side
    reading, label, name = side.reading, side.source.label, ""
    count = len(reading.network.layers)
    own = tuple(layer.activation for layer in reading.network.layers)
    if label in by_side:
        if reading.activation_stated and set(own) != {by_side[label]}:
            raise OptionError(
                f"--activation {label}={by_side[label]}: {side.source} states {'/'.join(dict.fromkeys(own))}"
            )
        name, why = by_side[label], "set by --activation"
    elif reading.activation_stated:
        return side
    elif everywhere:
        name, why = everywhere, "set by --activation"
    elif donor and donor.network and len(donor.network.layers) == count:
        borrowed = tuple(layer.activation for layer in donor.network.layers)
        words = f"activation {'/'.join(dict.fromkeys(borrowed))}: not in the file, borrowed from {donor.source.label}"
        return _with_activations(side, reading, borrowed, f"{words} (--activation {label}=NAME sets another)")
    else:
        words = (
            f"activation {own[0]}: not in the file, the framework's default (--activation {label}=NAME sets another)"
        )
        return replace(side, assumptions=(words, *reading.assumptions))
    return _with_activations(side, reading, (name,) * count, f"activation {name}: {why}")


def _with_activations(side: Opened, reading: Reading, activations: tuple[str, ...], words: str) -> Opened:
    known = enumerate(zip(reading.network.layers, activations, strict=True))
    kept = tuple(layer.activation if k in reading.settled_layers else name for k, (layer, name) in known)
    network = reading.network.with_activations(kept)
    return replace(side, reading=replace(reading, network=network), assumptions=(words, *reading.assumptions))
