"""Mutations that every form shares: of raw bytes, of numbers, and of JSON values."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

FIXTURES = Path(__file__).parents[2] / "fixtures"
NUMBERS = (0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 1000, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32)
LARGE = (2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 16, 2**64 - 1, -(2**31), -(2**63))
_WORDS = (
    "",
    "a",
    "kernel",
    "SimpleRNN",
    "__class__",
    "../x",
    "/etc/passwd",
    "\0",
    "\x1b[31m",
    "é\u202e",
    "#+:,",
    "9" * 5000,
)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Sample:
    """Files to write, by their relative path, and the one to hand to the tool."""

    main: str
    files: dict[str, bytes]


def fixture(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def integer(rng: Random, old: int = 0) -> int:
    """A number near `old`, or one at which sizes go wrong."""
    return rng.choice((old + rng.choice((-1, 1, -8, 8)), old * 2, old ^ 1 << rng.randrange(40), *NUMBERS, *LARGE))


def mutated_bytes(rng: Random, data: bytes, times: int = 0) -> bytes:
    """`data` with a few bytes flipped, overwritten, dropped, doubled, or cut off at the end."""
    out = bytearray(data)
    for _ in range(times or rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(out) + 1)
        size = min(len(out) - at, rng.choice((1, 1, 2, 4, 8, 64)))
        action = rng.randrange(8)
        if action < 2:
            out[at : at + 1] = bytes([rng.randrange(256)])
        elif action < 4 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif action == 4:
            width = rng.choice((1, 2, 4, 8))
            out[at : at + width] = (integer(rng) % 256**width).to_bytes(width, rng.choice(("little", "big")))
        elif action == 5:
            del out[at : at + size]
        elif action == 6:
            out[at:at] = out[at : at + size]
        elif rng.random() < 0.2:
            del out[at:]
    return bytes(out)


def spliced(
    rng: Random, items: Sequence[_T], change: Callable[[Random, _T], _T], fresh: Callable[[Random], _T]
) -> list[_T]:
    """`items` with a few of them dropped, doubled, swapped, changed by `change`, or new ones from `fresh` put in."""
    out = list(items)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        if not out:
            return [fresh(rng)]
        k, j = rng.randrange(len(out)), rng.randrange(len(out))
        action = rng.randrange(8)
        if action == 0:
            del out[k]
        elif action == 1:
            out.insert(j, out[k])
        elif action == 2:
            out[k], out[j] = out[j], out[k]
        elif action < 5:
            out.insert(k, fresh(rng))
        else:
            out[k] = change(rng, out[k])
    return out


def mutated_json(rng: Random, text: bytes | str) -> bytes:
    """JSON with a few of its values replaced, keys renamed, doubled or dropped; now and then damaged as text."""
    if rng.random() < 0.1:
        return mutated_bytes(rng, text if isinstance(text, bytes) else text.encode())
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 5))):
        value = _changed(rng, value)
    return json.dumps(value).encode()


def json_value(rng: Random) -> Any:
    """Some JSON value that its reader may not be ready for."""
    return rng.choice(
        (
            None, True, 1.5, 1e308, float("nan"), float("inf"), [], {}, [[]], {"a": {}}, [None], rng.choice(_WORDS),
            integer(rng), [integer(rng), integer(rng)], json.loads("[" * 90 + "]" * 90),
        )
    )  # fmt: skip


def _changed(rng: Random, value: Any) -> Any:
    """`value` with one node below it changed; deeper nodes as often as shallow ones."""
    children: list[Any] = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    if not children or rng.random() < 0.1:
        return json_value(rng)
    key = rng.choice(children)
    action = rng.randrange(10)
    if action == 0:
        return (
            {k: v for k, v in value.items() if k != key} if isinstance(value, dict) else value[:key] + value[key + 1 :]
        )
    if action == 1:
        other = rng.choice(children)
        if isinstance(value, dict):
            return {**value, rng.choice((*_WORDS, other)): value[key]}
        return [*value, value[key]]
    if action == 2:
        other = rng.choice(children)
        copied = dict(value) if isinstance(value, dict) else list(value)
        copied[key], copied[other] = value[other], value[key]
        return copied
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[key] = _changed(rng, value[key])
    return copied
