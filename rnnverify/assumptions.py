"""What a file does not state, and where it comes from then: an option, another side, or the framework's default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rnnverify.activations import ACTIVATIONS, ALIASES
from rnnverify.adapters import Reading, restate
from rnnverify.errors import OptionError, printable
from rnnverify.sides import Opened


@dataclass(frozen=True)
class Assumed:
    """What the user says of files that do not state it. Each is `VALUE` for all of them, or `B=VALUE` for one side."""

    activations: tuple[str, ...] = ()  # "relu", "B=relu"
    merge_modes: tuple[str, ...] = ()  # "sum", "B=sum": how a Bidirectional of a Keras or Flax file of weights merges
    go_backwards: tuple[str, ...] = ()  # "B": a layer of such a file runs backwards


def settle(sides: Sequence[Opened], assumed: Assumed) -> tuple[Opened, ...]:
    """Give every network what its file does not state. Raises OptionError where an option names nothing there is,
    contradicts a file, or would have no effect."""
    stating = [side for side in sides if side.reading and side.reading.activation_stated]
    donor = next((side for side in stating if not _leaves_open(side)), None)
    restated = _settle_structure(sides, assumed, donor)
    return settle_activations(restated, assumed.activations)


def _settle_structure(sides: Sequence[Opened], assumed: Assumed, donor: Opened | None) -> tuple[Opened, ...]:
    labels = [side.source.label for side in sides]
    merges = _by_side("--merge-mode", assumed.merge_modes, labels)
    for mode in merges.values():
        if mode not in ("concat", "sum", "mul", "ave"):
            raise OptionError(f"--merge-mode {printable(mode)}: known are concat, sum, mul, ave")
    backwards = {label.upper() for label in assumed.go_backwards}
    if not backwards <= set(labels):
        raise OptionError(f"--go-backwards {', '.join(sorted(backwards))}: the sides are {', '.join(labels)}")
    settled = []
    for side in sides:
        label = side.source.label
        open_question = _leaves_open(side)
        asked = [f"--merge-mode {label}=..."] * (label in merges) + ["--go-backwards"] * (label in backwards)
        if asked and not open_question:
            raise OptionError(f"{asked[0]}: {side.source} is no Keras, Flax or Equinox file of weights only")
        if not open_question:
            settled.append(side)
        elif label in merges or "" in merges or label in backwards:
            merge = merges.get(label, merges.get(""))
            changed = _restate(side, merge, label in backwards or None, "set by options")
            if changed is side and asked:
                raise OptionError(f"{asked[0]}: {side.source} leaves nothing open that this could settle")
            settled.append(changed)
        else:
            settled.append(_borrow_structure(side, donor))
    return tuple(settled)


def _leaves_open(side: Opened) -> bool:
    """Whether a side may not state its structure: weights alone, or with no more than their activation."""
    reading = side.reading
    if reading is None or reading.recipe.framework not in ("keras", "flax", "equinox"):
        return False
    return not reading.activation_stated or bool(reading.assumptions)


def _by_side(option: str, given: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """{label: value} of options like `B=value`; a value for every side stands under the empty label."""
    found: dict[str, str] = {}
    for text in given:
        label, equals, value = text.rpartition("=")
        label = label.upper()
        if equals and label not in labels:
            raise OptionError(f"{option} {printable(text)}: the sides are {', '.join(labels)}")
        if label in found:
            raise OptionError(f"{option} {printable(text)}: was already given as something else; give it once")
        found[label] = value
    return found


def _borrow_structure(side: Opened, donor: Opened | None) -> Opened:
    """The merge mode and direction of the donor, where its layers correspond."""
    if donor is None or donor.network is None or side.network is None:
        return side
    theirs, ours = donor.network.layers, side.network.layers
    if [len(layer.directions) for layer in theirs] != [len(layer.directions) for layer in ours]:
        return side
    merges = {layer.merge for layer in theirs if layer.bidirectional}
    backwards = {layer.directions[0].reverse for layer in theirs if not layer.bidirectional}
    if merges <= {"concat"} and backwards <= {False}:
        return side
    merge = merges.pop() if len(merges) == 1 else None
    return _restate(side, merge, True in backwards or None, f"borrowed from {donor.source.label}")


def _restate(side: Opened, merge: str | None, go_backwards: bool | None, why: str) -> Opened:
    """`side` under another merge mode or direction; unchanged where its file leaves neither open."""
    assert side.reading is not None
    try:
        changed = restate(side.reading, merge, go_backwards)
    except ValueError as error:
        raise OptionError(f"{side.source}: cannot be read with merge mode {merge or 'concat'}: {error}") from error
    if changed is side.reading:
        return side
    words = tuple(text if text in side.reading.assumptions else f"{text} ({why})" for text in changed.assumptions)
    return replace(side, reading=replace(changed, assumptions=words))


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
    found = _by_side("--activation", options, labels)
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
