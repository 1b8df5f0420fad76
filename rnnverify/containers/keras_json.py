"""JSON that a Keras file carries: a model's configuration, a zip's metadata."""

from __future__ import annotations

import json
from pathlib import Path

from rnnverify.errors import FileError

_DEEPEST = 100  # levels; genuine models, sub-models in sub-models included, stay below 40


def parse_object(path: Path, what: str, text: str | bytes) -> dict[str, object]:
    """The JSON object in `text`; `what` names it in messages. Raises `FileError` if it is damaged or no object."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise FileError(path, f"{what} is nested without end", "save the model again") from None
    except (ValueError, UnicodeError) as problem:
        reason = "cut off or no JSON" if isinstance(problem, json.JSONDecodeError) else "no text"
        raise FileError(path, f"{what} is {reason}", "the file is damaged: save the model again") from None
    if not isinstance(value, dict):
        raise FileError(path, f"{what} is no JSON object", "save the model again")
    level: list[object] = [value]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in _children(node)]
        if not level:
            return value
    raise FileError(path, f"{what} is nested more than {_DEEPEST} levels deep", "save the model again")


def _children(node: object) -> list[object]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
