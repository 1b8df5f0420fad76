"""`rnnverify.lock`: what the comparisons of a config gave when they were accepted, so that they can only get better.

Deviations vary from machine to machine by rounding, so a growth counts beyond a factor, and beyond a hundredth of the
rule of the dtype (`comparison.UNIT`): what was 0 on one machine may be one unit in the last place on another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rnnverify.comparison import Comparison, Pair
from rnnverify.errors import FileError, printable
from rnnverify.output import write_whole

NAME = "rnnverify.lock"
SCHEMA = 1
_LARGEST = 2**26  # bytes
_FLOOR = 0.01  # of the rule: about one unit in the last place of the largest state


def entry_of(result: Comparison) -> dict[str, Any]:
    """What the lock keeps of a comparison."""
    return {
        "verdict": result.verdict,
        "inputs": {name: batch["sha256"] for name, batch in result.inputs["batches"].items()},
        "sides": {
            side.label: {
                "source": side.source,
                "weights": side.weights_fingerprint,
                "engine": side.engine,
                "versions": dict(side.versions),
            }
            for side in result.sides
        },
        "pairs": {
            pair.candidate: {"deviation": _number(_deviation(pair)), "budget": [_used(b) for b in pair.budgets]}
            for pair in result.pairs
        },
    }


def complaints(name: str, result: Comparison, lock: Mapping[str, Any], growth: float) -> Iterator[str]:
    """How `result` is not what was accepted under `name`: sentences that say how to accept it."""
    accept = f"to accept it: rnnverify check --update --only '{printable(name)}'"
    locked = lock.get(name)
    if locked is None:
        yield f"is not in {NAME}; {accept}"
        return
    changed = False
    for side in result.sides:
        before = locked["sides"].get(side.label)
        if before is None or before["weights"] != side.weights_fingerprint:
            changed = True
            yield f"the weights of {side.label}, {printable(side.source)}, are not those of {NAME}; {accept}"
    if len(locked["sides"]) > len(result.sides):
        changed = True
        yield f"{NAME} has {len(locked['sides'])} sides, there are {len(result.sides)} now; {accept}"
    inputs = {key: batch["sha256"] for key, batch in result.inputs["batches"].items()}
    if not changed and locked["inputs"] != inputs:
        changed = True
        yield f"the inputs are not those of {NAME}, so their deviations cannot be held against each other; {accept}"
    if changed:
        return
    for pair in result.pairs:
        before, now = locked["pairs"].get(pair.candidate, {}).get("deviation"), _deviation(pair)
        limit = growth * max(before, _FLOOR * pair.rule.atol) if before is not None else 0.0
        if not now <= limit:
            was = "was not a number" if before is None else f"was {before:.2g} in {NAME}"
            many = f", more than {growth:g} times that is a regression" if before is not None else ""
            yield f"the deviation of {pair.candidate} is {now:.2g} and {was}{many}; {accept}"


def read_lock(path: Path) -> dict[str, Any] | None:
    """{name: entry} of a lock; None where there is none. Raises FileError where it is damaged."""
    advice = "take it from version control again, or write it anew with: rnnverify check --update"
    if not path.exists():
        return None
    try:
        if path.stat().st_size > _LARGEST:
            raise FileError(path, f"is larger than {_LARGEST >> 20} MiB", advice)
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", advice) from error
    except (ValueError, RecursionError) as error:
        raise FileError(path, "is no JSON", advice) from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise FileError(path, f"is no lock of schema {SCHEMA}", advice)
    entries = found.get("comparisons")
    if not isinstance(entries, dict) or not all(_is_entry(entry) for entry in entries.values()):
        raise FileError(path, "is damaged", advice)
    return entries


def write_lock(path: Path, entries: Mapping[str, Any]) -> None:
    """Write a lock, sorted by name so that version control shows what changed. Raises OutputError."""
    text = json.dumps({"schema": SCHEMA, "comparisons": dict(entries)}, indent=1, sort_keys=True, allow_nan=False)
    write_whole(path, lambda file: file.write((text + "\n").encode()))


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    sides, pairs = entry.get("sides"), entry.get("pairs")
    return (
        isinstance(sides, dict)
        and all(isinstance(side, dict) and "weights" in side for side in sides.values())
        and isinstance(pairs, dict)
        and all(isinstance(pair, dict) and _is_number(pair.get("deviation")) for pair in pairs.values())
        and isinstance(entry.get("inputs"), dict)
    )


def _is_number(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _deviation(pair: Pair) -> float:
    worst = pair.headline.deviation
    return math.nan if any(worst.nonfinite) else worst.max_abs


def _used(budget: Any) -> float | None:
    return None if budget is None else _number(budget.used)


def _number(value: float) -> float | None:
    """`value` to three digits; None where JSON has no such number."""
    return float(f"{value:.3g}") if math.isfinite(value) else None
