"""The result as JSON, for machines. Numbers that JSON lacks are the strings "NaN", "Infinity" and "-Infinity"."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rnnverify import __version__
from rnnverify.comparison import Comparison
from rnnverify.errors import EXIT_ERROR, RnnverifyError
from rnnverify.inspection import Inspection

if TYPE_CHECKING:  # it brings all that a comparison needs, and `inspect` does not
    from rnnverify.conversion import Conversion

SCHEMA = 1


def render(result: Comparison, *, width: int = 0, color: bool = False) -> str:  # noqa: ARG001 - for people only
    """A comparison that was made."""
    return dump({"verdict": result.verdict, "exit_code": result.exit_code, **asdict(result)})


def render_error(error: RnnverifyError) -> str:
    """A comparison that could not be made."""
    problem = {"kind": error.kind, "message": str(error)}
    return dump({"verdict": "ERROR", "exit_code": EXIT_ERROR, "error": problem})


def render_inspection(result: Inspection, *, width: int = 0, color: bool = False) -> str:  # noqa: ARG001 - likewise
    """What a file holds."""
    return dump(asdict(result))


def render_conversion(result: Conversion, *, width: int = 0, color: bool = False) -> str:  # noqa: ARG001 - likewise
    """A network that was written elsewhere, with the comparison that it stood."""
    return dump({"verdict": result.verdict, "exit_code": result.exit_code, **asdict(result)})


def dump(value: dict[str, Any]) -> str:
    """`value` after a header that names schema and version."""
    header = {"schema": SCHEMA, "rnnverify": __version__}
    return json.dumps(_plain({**header, **value}), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
