"""`rnnverify.toml`, or `[tool.rnnverify]` in `pyproject.toml`: comparisons that are made again and again.

    growth = 2.0                       # how far a deviation may grow beyond rnnverify.lock

    [defaults]                         # any option of a comparison, for all of them
    steps = 64

    [[compare]]
    name = "encoder"
    sides = ["keras/encoder.h5", "torch/encoder.pt#encoder.rnn"]
    activation = "relu"                # the options of `rnnverify compare`, with _ for -
    expect = "EQUIVALENT"              # at least; without it whatever exits with 0

A `*` in the sides stands for a part of a name: a family of models, see `globs.py`. Paths are relative to the file.
"""

from __future__ import annotations

import difflib
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from rnnverify.assumptions import OPTIONS, Assumed
from rnnverify.comparison import Verdict
from rnnverify.deviation import Tolerance
from rnnverify.errors import FileError, RnnverifyError, printable
from rnnverify.globs import expand, located
from rnnverify.inputs import InputOptions, parse_lengths
from rnnverify.interpreters import check_labels
from rnnverify.options import Options
from rnnverify.step import Allowed, parse_allowed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILES = ("rnnverify.toml", "pyproject.toml")
_LARGEST = 2**20  # bytes
_MOST = 10_000  # comparisons
_GROWTH = 2.0

Kind = Literal["text", "texts", "count", "number", "switch", "numbers"]
_WORDS: dict[Kind, str] = {
    "text": "a text",
    "texts": "a text or a list of texts",
    "count": "a whole number",
    "number": "a number",
    "switch": "true or false",
    "numbers": "a text such as '8,4'",
}
_OPTIONS: dict[str, Kind] = {
    "sequences": "count",
    "steps": "count",
    "seed": "count",
    "inputs": "text",
    "lengths": "numbers",
    "whole_model": "switch",
    "probes": "switch",
    **dict.fromkeys(OPTIONS, "texts"),
    "engine": "text",
    "dtype": "text",
    "python": "texts",
    "search": "switch",
    "atol": "number",
    "rtol": "number",
    "activation_error": "numbers",
}
_DEFAULTS: dict[str, Kind] = {**_OPTIONS, "expect": "texts"}
_COMPARISON: dict[str, Kind] = {**_DEFAULTS, "name": "text", "sides": "texts"}


@dataclass(frozen=True)
class Declared:
    """One comparison of the file."""

    name: str
    sides: tuple[str, ...]
    options: Options
    expect: tuple[Verdict, ...]  # what passes; empty: whatever exits with 0
    command: str  # that makes the same comparison by itself


@dataclass(frozen=True)
class Config:
    """The whole file."""

    path: Path
    comparisons: tuple[Declared, ...]
    growth: float  # of a deviation beyond the locked one


def find_config() -> Path:
    """The file of the working directory. Raises FileError where there is none."""
    for name in FILES:
        path = Path(name)
        if path.is_file() and (name != "pyproject.toml" or "rnnverify" in _tools(_parse(path))):
            return path
    advice = 'write one with [[compare]], name = "..." and sides = ["model.h5", "model.pt"], or give --config FILE'
    raise FileError("rnnverify.toml", "is not here, nor [tool.rnnverify] in a pyproject.toml", advice)


def read_config(path: Path) -> Config:
    """Every comparison of `path`, families expanded. Raises FileError and OptionError, one sentence each."""
    found = _parse(path)
    if path.name == "pyproject.toml":
        found = _table(path, _tools(found).get("rnnverify", {}), "[tool.rnnverify]")
    _known(path, found, ("compare", "defaults", "growth"), "the file")
    defaults = _table(path, found.get("defaults", {}), "[defaults]")
    _typed(path, defaults, _DEFAULTS, "[defaults]")
    growth = found.get("growth", _GROWTH)
    if isinstance(growth, bool) or not isinstance(growth, (int, float)) or not 1 <= growth < math.inf:
        raise FileError(path, f"growth is {growth!r:.40}", "wanted a number from 1 up")
    entries = found.get("compare", [])
    if not isinstance(entries, list) or not entries:
        raise FileError(path, "declares no comparison", "write [[compare]] with name and sides")
    comparisons: list[Declared] = []
    for k, entry in enumerate(entries):
        table = _table(path, entry, f"[[compare]] number {k + 1}")
        comparisons += _comparisons(path, table, defaults, f"[[compare]] number {k + 1}")
        if len(comparisons) > _MOST:
            raise FileError(path, f"declares more than {_MOST} comparisons", "narrow the * of its sides")
    seen: set[str] = set()
    for declared in comparisons:
        if declared.name in seen:
            raise FileError(path, f"has two comparisons of the name {printable(declared.name)!r}", "name each once")
        seen.add(declared.name)
    return Config(path, tuple(comparisons), float(growth))


def _comparisons(path: Path, table: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> list[Declared]:
    """The comparisons of one entry: one, or as many as its family has."""
    _typed(path, table, _COMPARISON, where)
    name = table.get("name", "")
    if not name:
        raise FileError(path, f"{where} has no name", 'write name = "..." in it: reports and the lock use it')
    where = f"comparison {printable(name)!r}"
    sides = _texts(table.get("sides", ()))
    if not 2 <= len(sides) <= 26:
        raise FileError(path, f"{where} has {len(sides)} sides", 'wanted 2 to 26: sides = ["model.h5", "model.pt"]')
    try:
        family = expand(name, sides, path.parent)
        settings = _located_settings({**defaults, **table}, path.parent)
        options = _options(settings)
        check_labels(options.pythons, [chr(ord("A") + k) for k in range(len(sides))])
    except RnnverifyError as error:
        raise FileError(path, f"{where}: {error}") from error
    expect = _expected(path, _texts(settings.get("expect", ())), where)
    return [Declared(each, paths, options, expect, _command(paths, settings)) for each, paths in family]


def _options(settings: Mapping[str, Any]) -> Options:
    made = {key: settings[key] for key in ("sequences", "steps", "seed", "probes") if key in settings}
    if "lengths" in settings:
        made["lengths"] = parse_lengths(settings["lengths"])
    rest = {key: settings[key] for key in ("engine", "dtype", "search", "whole_model") if key in settings}
    error = settings.get("activation_error")
    allowed: Allowed | None = parse_allowed(error) if error is not None else None
    return Options(
        inputs=InputOptions(**made, file=Path(settings["inputs"]) if "inputs" in settings else None),
        tolerance=Tolerance(float(settings.get("atol", 0.0)), float(settings.get("rtol", 0.0))),
        assumed=Assumed(*(_texts(settings.get(key, ())) for key in OPTIONS)),
        activation_error=allowed,
        pythons=_texts(settings.get("python", ())),
        **rest,
    )


def _located_settings(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """`settings` with paths as seen from here."""
    found = dict(settings)
    if "inputs" in found:
        found["inputs"] = located(found["inputs"], folder)
    if "python" in found:  # a bare name is looked for on the PATH
        pairs = [text.partition("=") for text in _texts(found["python"])]
        found["python"] = [f"{a}{eq}{located(b, folder) if '/' in b and b[0] != '~' else b}" for a, eq, b in pairs]
    return found


def _expected(path: Path, given: Sequence[str], where: str) -> tuple[Verdict, ...]:
    """The verdicts that pass: one of the first three stands for itself and what is better."""
    known: tuple[Verdict, ...] = get_args(Verdict)
    passing: set[Verdict] = set()
    for word in given:
        if word not in known:
            raise FileError(path, f"{where} expects {printable(word)!r}", f"known verdicts are {', '.join(known)}")
        better = known[: known.index(word)] if word in known[:3] else ()
        passing |= {*better, known[known.index(word)]}
    return tuple(verdict for verdict in known if verdict in passing)


def _command(sides: Sequence[str], settings: Mapping[str, Any]) -> str:
    arguments = ["rnnverify", "compare", *sides]
    for key in _OPTIONS:
        if key not in settings:
            continue
        option, value = "--" + key.replace("_", "-"), settings[key]
        if isinstance(value, bool):
            arguments.append(option if value else option.replace("--", "--no-"))
        else:
            for each in value if isinstance(value, list) else [value]:
                arguments += [option, str(each)]
    return shlex.join(arguments)


def _parse(path: Path) -> Mapping[str, Any]:
    advice = "wanted comparisons in TOML"
    try:
        if path.stat().st_size > _LARGEST:
            raise FileError(path, f"is larger than {_LARGEST >> 20} MiB", advice)
        found: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", advice) from error
    except (ValueError, RecursionError) as error:
        raise FileError(path, f"is no TOML ({printable(error)})", "mend that line") from error
    return found


def _tools(found: Mapping[str, Any]) -> Mapping[str, Any]:
    tools = found.get("tool", {})
    return tools if isinstance(tools, dict) else {}


def _table(path: Path, value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise FileError(path, f"{where} is {value!r:.40}", "wanted a table")
    return value


def _known(path: Path, table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0.5)
            advice = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise FileError(path, f"{where} has an unknown key {printable(key)!r}", advice)


def _typed(path: Path, table: Mapping[str, Any], kinds: Mapping[str, Kind], where: str) -> None:
    _known(path, table, list(kinds), where)
    for key, value in table.items():
        if not _fits(value, kinds[key]):
            raise FileError(path, f"{where} has {key} = {value!r:.40}", f"wanted {_WORDS[kinds[key]]}")


def _fits(value: Any, kind: Kind) -> bool:
    if kind == "texts" and isinstance(value, list):
        return all(isinstance(each, str) for each in value)
    wanted: dict[Kind, type | tuple[type, ...]] = {"count": int, "number": (int, float), "switch": bool}
    return isinstance(value, wanted.get(kind, str)) and (kind == "switch") == isinstance(value, bool)


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
