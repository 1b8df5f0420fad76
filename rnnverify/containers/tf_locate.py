"""Which files make up the TensorFlow checkpoint that a path means. No path inside a file is followed
anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rnnverify.containers.tf_table import is_table
from rnnverify.errors import FileError, printable

_PART = re.compile(r"(.+)\.(?:index|meta|data-\d{5}-of-\d{5})")
_POINTER = re.compile(rb'^\s*model_checkpoint_path:\s*"((?:[^"\\\n]|\\.)*)"', re.MULTILINE)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)")


@dataclass(frozen=True)
class Located:
    """A checkpoint's prefix, or its file where it has a single one (V1), and the graph that may lie beside
    it.
    """

    prefix: Path
    form: str
    graph: Path
    single_file: bool = False


def locate(path: Path) -> Located:
    """The checkpoint that `path` means. Raises `FileError` where there is none."""
    if path.is_dir():
        return _in_directory(path)
    if path.name == "saved_model.pb" and path.is_file():
        return _in_directory(path.parent)
    if path.name == "checkpoint" and path.is_file():
        return _pointed_at(path)
    located = _at(path)
    part = _PART.fullmatch(path.name)
    if located is None and part:
        located = _at(path.with_name(part[1]))
    if located:
        return located
    if path.is_file():
        found = f"the table {printable(part[1])}.index is missing" if part else "this is not a TensorFlow checkpoint"
        raise FileError(path, found, "a checkpoint is PREFIX.index with PREFIX.data-00000-of-00001 beside it")
    if path.exists():
        raise FileError(path, "this is not a regular file", "give the .index file of a checkpoint")
    raise FileError(path, "there is no such checkpoint", "give its prefix, its .index file, or its directory")


def _at(prefix: Path) -> Located | None:
    graph = prefix.with_name(prefix.name + ".meta")
    if prefix.with_name(prefix.name + ".index").is_file():
        return Located(prefix, "TensorFlow checkpoint V2", graph)
    if not _PART.fullmatch(prefix.name) and prefix.is_file() and is_table(prefix):
        return Located(prefix, "TensorFlow checkpoint V1", graph, single_file=True)
    return None


def _in_directory(path: Path) -> Located:
    graph = path / "saved_model.pb"
    if graph.is_file():
        prefix = path / "variables" / "variables"
        if not prefix.with_name("variables.index").is_file():
            advice = "copy the whole directory, with variables/variables.index and its data files"
            raise FileError(path, "a SavedModel without its variables", advice)
        return Located(prefix, "TensorFlow SavedModel", graph)
    pointer = path / "checkpoint"
    if pointer.is_file():
        return _pointed_at(pointer)
    advice = "give the .index file of a checkpoint"
    raise FileError(path, "a directory with neither a file `checkpoint` nor saved_model.pb", advice)


def _pointed_at(pointer: Path) -> Located:
    """The checkpoint that the text file `checkpoint` names last, looked for beside it only."""
    with pointer.open("rb") as file:
        match = _POINTER.search(file.read(1 << 20))
    if not match:
        raise FileError(pointer, "it names no model_checkpoint_path", "give the .index file of a checkpoint")
    named = _ESCAPE.sub(_unescaped, match[1]).decode("utf-8", "replace")
    name = re.split(r"[/\\]", named)[-1]
    located = _at(pointer.with_name(name)) if name.strip(". ") and "\0" not in name else None
    if located is None:
        wanted = f"{printable(name)}.index and {printable(name)}.data-00000-of-00001"
        found = f"this is only a pointer to {printable(named)}, which is not beside it"
        raise FileError(pointer, found, f"put {wanted} there, or give their path")
    return located


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8) & 0xFF]) if code.isdigit() else code
