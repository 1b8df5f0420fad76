"""The JSON Schema of a result, made from the dataclasses: `python -m rnnverify.reports.schema > result.schema.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rnnverify.comparison import EXIT_CODES, Comparison
from rnnverify.errors import EXIT_ERROR
from rnnverify.reports.json import SCHEMA

_PLAIN = {str: "string", int: "integer", bool: "boolean", NoneType: "null"}


def schema() -> dict[str, Any]:
    """Of everything that `--format json` writes of a comparison, one that could not be made included."""
    definitions: dict[str, Any] = {}
    _of(Comparison, definitions)
    made = definitions["Comparison"]
    header = {"schema": {"const": SCHEMA}, "rnnverify": {"type": "string"}}
    made["properties"] = {**header, **made["properties"], "exit_code": {"enum": sorted(set(EXIT_CODES.values()))}}
    made["required"] = [*header, "exit_code", *made["required"]]
    words = {"type": "object", "properties": {"kind": {"type": "string"}, "message": {"type": "string"}}}
    error = {**words, "required": ["kind", "message"], "additionalProperties": False}
    refused = {**header, "verdict": {"const": "ERROR"}, "exit_code": {"const": EXIT_ERROR}, "error": error}
    definitions["Error"] = {
        "type": "object",
        "properties": refused,
        "required": list(refused),
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A result of rnnverify",
        "oneOf": [{"$ref": "#/$defs/Comparison"}, {"$ref": "#/$defs/Error"}],
        "$defs": definitions,
    }


def _of(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind is float:
        return {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if is_dataclass(kind):
        return _object(kind, definitions)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, UnionType):
        return {"anyOf": [_of(each, definitions) for each in arguments]}
    if origin is tuple and arguments[1:] == (...,):
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is tuple:
        items = [_of(each, definitions) for each in arguments]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    raise TypeError(f"a result holds {kind}, which has no form in JSON")


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}  # its place in the order
        hints = get_type_hints(kind)
        definitions[name] = {
            "type": "object",
            "properties": {each.name: _of(hints[each.name], definitions) for each in fields(kind)},
            "required": [each.name for each in fields(kind) if each.default is MISSING],
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
