"""Families of models: a `*` in the sides of a comparison stands for a part of a file's name.

`keras/*.h5` against `torch/*.pt` compares keras/a.h5 with torch/a.pt, keras/b.h5 with torch/b.pt, and so on. A
name that only one side has is a comparison too, whose other side is missing: what was forgotten does not pass unseen.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from rnnverify.errors import OptionError, printable
from rnnverify.sides import PREFIXES


def expand(name: str, sides: Sequence[str], folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """(name, sides) of every comparison that is meant, paths relative to `folder` made relative to here.

    The parts that `*` stands for also take the place of a `*` in `name`; where it has none they follow it. Raises
    OptionError where the sides differ in how many `*` they have, or no file fits.
    """
    patterns = [_taken_apart(side, folder) for side in sides]
    counts = {path.count("*") for _, path, _ in patterns if "*" in path}
    if not counts:
        return [(name, tuple(prefix + located(path, folder) + rest for prefix, path, rest in patterns))]
    if any("**" in path for _, path, _ in patterns):
        raise OptionError("** is not known in a side; write one * for each part of the path")
    if len(counts) > 1:
        raise OptionError("its sides differ in how many * they have; give each as many, or none")
    found = sorted({parts for _, path, _ in patterns if "*" in path for parts in _parts(path, folder)})
    if not found:
        shown = ", ".join(printable(path) for _, path, _ in patterns if "*" in path)
        raise OptionError(f"no file fits {shown}; paths are relative to {printable(folder.absolute())}")
    return [
        (
            _filled(name, parts) if "*" in name else f"{name}/{'-'.join(parts)}",
            tuple(prefix + located(_filled(path, parts), folder) + rest for prefix, path, rest in patterns),
        )
        for parts in found
    ]


def located(path: str, folder: Path) -> str:
    """`path`, relative to `folder`, as seen from here."""
    return path if folder == Path() else os.path.normpath(folder / path)


def _taken_apart(side: str, folder: Path) -> tuple[str, str, str]:
    """(prefix, path, selector) of a side, the marks with them; a path that exists as written is never split."""
    prefix, colon, after = side.partition(":")
    if (folder / side).exists() or not colon or prefix not in PREFIXES:
        prefix, colon, after = "", "", side
    if (folder / after).exists():
        return prefix + colon, after, ""
    path, mark, selector = after.partition("#")
    return prefix + colon, path, mark + selector


def _parts(pattern: str, folder: Path) -> set[tuple[str, ...]]:
    """What the `*` of `pattern` stand for, in every file that fits; a TensorFlow checkpoint is told by its index."""
    fixed = pattern.split("*")
    shape = re.compile("([^/]*)".join(re.escape(part) for part in fixed))
    wild = "*".join(glob.escape(part) for part in fixed)
    found = glob.glob(wild, root_dir=folder)  # noqa: PTH207 - Path.glob knows no absolute patterns
    indices = glob.glob(wild + ".index", root_dir=folder)  # noqa: PTH207 - as above
    names = found or [name.removesuffix(".index") for name in indices]
    return {match.groups() for name in names if (match := shape.fullmatch(name))}


def _filled(text: str, parts: Sequence[str]) -> str:
    """`text` with each `*` replaced by its part; all parts together where it has another number of them."""
    if text.count("*") != len(parts):
        return text.replace("*", "-".join(parts))
    pieces = text.split("*")
    return "".join(piece + part for piece, part in zip(pieces, (*parts, ""), strict=True))
