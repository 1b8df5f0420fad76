"""The JSON Schema of the JSON report, made from the dataclasses that it is written from.

    PYTHONPATH=. python tests/reports/schema.py    writes rnnverify/reports/result.schema.json again

A reader that follows the schema must bear fields that it does not know: they may be added. The tests do not: `strict`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import rnnverify.reports.json
from rnnverify.check import Checked
from rnnverify.comparison import Comparison
from rnnverify.conversion import Conversion
from rnnverify.errors import EXIT_ERROR
from rnnverify.inspection import Inspection

PATH = Path(rnnverify.reports.json.__file__).parent / "result.schema.json"

_PLAIN: dict[Any, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string"},
    float: {"$ref": "#/$defs/number"},
    Any: {},
    object: {},
}


def schema(strict: bool = False) -> dict[str, Any]:
    """What `rnnverify ... --format json` writes; where it is `strict`, with every field and no other."""
    known: dict[str, dict[str, Any]] = {
        "number": {
            "description": "A number; those that JSON lacks are strings.",
            "anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}],
        }
    }
    verdict = {"verdict": {"type": "string"}, "exit_code": {"enum": [0, 1, 3]}}
    problem = _object({"kind": {"type": "string"}, "message": {"type": "string"}}, strict)
    error = {"verdict": {"const": "ERROR"}, "exit_code": {"const": EXIT_ERROR}, "error": problem}
    reports = {
        "comparison": _fields(Comparison, known, strict, verdict),
        "conversion": _fields(Conversion, known, strict, verdict),
        "check": _check(known, strict),
        "inspection": _fields(Inspection, known, strict, {}),
        "error": {"description": "Why there is no result.", **_object(_header() | error, strict)},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Result of rnnverify",
        "description": "What compare, check, judge, convert and inspect write with --format json.",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in reports],
        "$defs": reports | dict(sorted(known.items())),
    }


def _check(known: dict[str, dict[str, Any]], strict: bool) -> dict[str, Any]:
    """What became of all comparisons of a config; whether each passes stands first in it."""
    found = _fields(Checked, known, strict, {"exit_code": {"enum": [0, 1, EXIT_ERROR, 3]}})
    outcome = known["Outcome"]
    outcome["properties"] = {"passed": {"type": "boolean"}, **outcome["properties"]}
    outcome["required"] = ["passed", *outcome["required"]]
    return found


def _header() -> dict[str, Any]:
    return {"schema": {"const": rnnverify.reports.json.SCHEMA}, "rnnverify": {"type": "string"}}


def _fields(kind: Any, known: dict[str, dict[str, Any]], strict: bool, more: Mapping[str, Any]) -> dict[str, Any]:
    """A report: the fields of `kind` below the header."""
    found = _dataclass(kind, known, strict)
    properties = _header() | dict(more) | found["properties"]
    required = [*_header(), *more, *(name for name in found["required"] if name not in more)]
    return {**found, "properties": properties, "required": required}


def _dataclass(kind: Any, known: dict[str, dict[str, Any]], strict: bool) -> dict[str, Any]:
    hints = get_type_hints(kind)
    properties = {field.name: _type(hints[field.name], known, strict) for field in fields(kind)}
    optional = {field.name for field in fields(kind) if field.default is not MISSING and not strict}
    described = {"description": str(kind.__doc__).partition("\n\n")[0].replace("\n    ", " ").strip()}
    found = _object(properties, strict)
    return {**described, **found, "required": [name for name in properties if name not in optional]}


def _object(properties: dict[str, Any], strict: bool) -> dict[str, Any]:
    closed = {"additionalProperties": False} if strict else {}
    return {"type": "object", "properties": properties, "required": list(properties), **closed}


def _type(kind: Any, known: dict[str, dict[str, Any]], strict: bool) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if is_dataclass(kind):
        name = kind.__name__  # type: ignore[union-attr]  # a class: annotations hold no instances
        if name not in known:
            known[name] = {}  # it may hold itself
            known[name] = _dataclass(kind, known, strict)
        return {"$ref": f"#/$defs/{name}"}
    if origin in (Union, UnionType):
        some = [_type(each, known, strict) for each in arguments if each is not NoneType]
        return {"anyOf": [*some, {"type": "null"}]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple and arguments[1:] == (...,):
        return {"type": "array", "items": _type(arguments[0], known, strict)}
    if origin is tuple:
        items = [_type(each, known, strict) for each in arguments]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _type(arguments[1], known, strict)}
    raise TypeError(f"{kind} has no form in JSON")


if __name__ == "__main__":
    PATH.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
