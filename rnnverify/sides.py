"""One argument of a comparison: `[keras:|torch:|tf:]PATH[#selector]`, a model file or a trace, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rnnverify.activations import ACTIVATIONS, ALIASES
from rnnverify.adapters import Reading, read_network
from rnnverify.canonical import Network
from rnnverify.containers import FORMS, Contents, FrameworkName, form_of, open_model
from rnnverify.errors import FileError, OptionError, printable
from rnnverify.trace import Trace, is_trace, load

PREFIXES: dict[str, FrameworkName] = {"keras": "keras", "torch": "torch", "tf": "tensorflow"}


@dataclass(frozen=True)
class Source:
    """An argument taken apart."""

    label: str  # "A", "B", ...
    given: str
    path: Path
    framework: FrameworkName | None  # as given by a prefix
    selector: str | None

    def __str__(self) -> str:
        return printable(self.given, 300)


@dataclass(frozen=True)
class Opened:
    """A source that has been read: a model with its canonical network, or a trace."""

    source: Source
    contents: Contents | None
    reading: Reading | None
    trace: Trace | None
    assumptions: tuple[str, ...] = ()

    @property
    def network(self) -> Network | None:
        return self.reading.network if self.reading else None


def parse(given: str, label: str) -> Source:
    """Take an argument apart. A path that exists as written is never split at `:` or `#`."""
    if _exists(given):
        return Source(label, given, Path(given), None, None)
    framework, rest = None, given
    prefix, colon, after = given.partition(":")
    if colon and prefix in PREFIXES:
        framework, rest = PREFIXES[prefix], after
    path, _, selector = (rest, "", "") if _exists(rest) else rest.partition("#")
    return Source(label, given, Path(path), framework, selector or None)


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a name too long, or with a NUL: `form_of` says what is wrong with it
        return False


def parse_all(given: Sequence[str]) -> tuple[Source, ...]:
    """Label the sides A, B, C, ... in order. Raises OptionError beyond 26."""
    if len(given) > 26:
        raise OptionError(f"{len(given)} sides were given; at most 26 can be compared at once")
    return tuple(parse(text, chr(ord("A") + k)) for k, text in enumerate(given))


def framework_of(source: Source) -> FrameworkName | None:
    """Which framework will be asked to run `source`, told by its first bytes; None for a trace."""
    if is_trace(source.path):
        return None
    return source.framework or FORMS[form_of(source.path)][1] or "torch"


def open_side(source: Source) -> Opened:
    """Read a model file or a trace. Raises FileError and its kinds."""
    if is_trace(source.path):
        if source.framework or source.selector:
            raise OptionError(f"{source}: a trace has neither a framework prefix nor a selector; give its path alone")
        return Opened(source, None, None, load(source.path))
    contents = open_model(source.path)
    reading = read_network(contents, source.framework, source.selector)
    for name, array in reading.network.tensors():
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            found = f"{name} holds {bad} weights that are NaN or infinite"
            raise FileError(source.given, found, "a network with such weights cannot be compared: repair the file")
    return Opened(source, contents, reading, None)


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
    everywhere = ""
    by_side: dict[str, str] = {}
    for option in options:
        label, equals, name = option.rpartition("=")
        name = ALIASES.get(name, name)
        if name not in ACTIVATIONS:
            raise OptionError(f"--activation {printable(option)}: known are {', '.join(ACTIVATIONS)}")
        if everywhere if not equals else by_side.get(label.upper()):
            raise OptionError(f"--activation {printable(option)}: was already given as something else; give it once")
        if not equals:
            everywhere = name
        elif label.upper() not in labels:
            raise OptionError(f"--activation {printable(option)}: the sides are {', '.join(labels)}")
        else:
            by_side[label.upper()] = name
    return everywhere, by_side


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
    network = reading.network.with_activations(activations)
    return replace(side, reading=replace(reading, network=network), assumptions=(words, *reading.assumptions))
