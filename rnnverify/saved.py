"""A result that was saved with `--format json`, read back: the inverse of `reports.json.render`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from rnnverify.comparison import Comparison, worst_verdict
from rnnverify.deviation import Tolerance
from rnnverify.errors import FileError
from rnnverify.reports.json import SCHEMA
from rnnverify.tolerance import tolerate

_NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LARGEST = 2**28  # bytes; a result of 26 sides is far below


def judge_again(path: Path, tolerance: Tolerance) -> Comparison:
    """The saved comparison under another tolerance, exactly as if it had been made with it; nothing is run.

    Raises FileError where the file holds no comparison.
    """
    saved = read_result(path)
    pairs = tuple(tolerate(pair, tolerance) for pair in saved.pairs)
    return replace(saved, pairs=pairs, verdict=worst_verdict(pairs))


def read_result(path: Path) -> Comparison:
    """The comparison in a JSON report. Raises FileError where the file holds none."""
    wanted = "wanted a result saved with: rnnverify compare ... --format json -o result.json"
    try:
        if path.stat().st_size > _LARGEST:
            raise FileError(path, f"is larger than {_LARGEST >> 20} MiB", wanted)
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", wanted) from error
    except (ValueError, RecursionError) as error:
        raise FileError(path, "is no JSON", wanted) from error
    if not isinstance(found, dict) or "schema" not in found:
        raise FileError(path, "is no result of rnnverify", wanted)
    if found["schema"] != SCHEMA:
        raise FileError(path, f"has schema {found['schema']}, this version reads {SCHEMA}", "make the comparison again")
    if found.get("verdict") == "ERROR":
        raise FileError(path, "is the report of a comparison that could not be made", wanted)
    try:
        result = cast(Comparison, _restore(Comparison, found, "result"))
    except ValueError as error:
        raise FileError(path, f"is damaged: {error}", wanted) from error
    if not result.pairs:
        raise FileError(path, "is damaged: it compares nothing", wanted)
    return result


def _restore(kind: Any, value: Any, where: str) -> Any:
    """`value`, as JSON gives it, as an instance of `kind`. Raises ValueError that says where it does not fit."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        return None if value is None else _restore(next(a for a in arguments if a is not NoneType), value, where)
    if is_dataclass(kind):
        return _restore_fields(kind, _expect(dict, value, where), where)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where} is {value!r:.40}")
        return value
    if origin is tuple:
        items = _expect(list, value, where)
        kinds: Sequence[Any] = [arguments[0]] * len(items) if arguments[1:] == (...,) else arguments
        if len(items) != len(kinds):
            raise ValueError(f"{where} has {len(items)} entries, not {len(kinds)}")
        return tuple(_restore(each, item, where) for each, item in zip(kinds, items, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return _expect(dict, value, where)
    if kind is float:
        number = _NUMBERS.get(value, value) if isinstance(value, str) else value
        return float(_expect((int, float), number, where))
    return _expect(kind, value, where)


def _restore_fields(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    missing = [f.name for f in fields(kind) if f.name not in value and f.default is MISSING]
    if missing:
        raise ValueError(f"{where} has no {missing[0]}")
    given = {f.name: value[f.name] for f in fields(kind) if f.name in value}
    return kind(**{name: _restore(hints[name], item, f"{where}.{name}") for name, item in given.items()})


def _expect(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{where} is {value!r:.40}")
    return value
