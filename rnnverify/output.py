"""Files that the tool writes: all or nothing, and never in place of something that is no plain file."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from rnnverify.errors import OutputError, printable


def write_whole(path: Path, write: Callable[[IO[bytes]], object], option: str = "-o") -> None:
    """Let `write` fill the file at `path`; where it fails, what was there before stays.

    A link is followed. A device or a pipe is written to as it is, never replaced. Raises OutputError,
    whose advice names `option`.
    """
    try:
        target = path.resolve()
        if target.is_symlink():  # what is left of a loop of links, from Python 3.13 on
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                write(file)
            return
        partial = target.with_name(target.name + ".partial")
        try:
            with partial.open("wb") as file:
                write(file)
            partial.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
    except (OSError, RuntimeError) as error:  # up to Python 3.12 a loop of links is a RuntimeError
        why = getattr(error, "strerror", None) or str(error)
        where = printable(path, 300)
        raise OutputError(f"{where}: cannot be written ({why}); choose another place with {option}") from error


@contextlib.contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """An empty folder on the disk of `path`, gone at the end with all that is still in it. Raises OutputError."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=".rnnverify-", dir=path.parent, ignore_cleanup_errors=True)
    except OSError as error:
        where = printable(path, 300)
        raise OutputError(f"{where}: cannot be written ({error.strerror}); choose another place") from error
    with folder as name:
        yield Path(name)


def put_in_place(moves: Mapping[Path, Path]) -> None:
    """Move each file to its place, all of them or none: where one fails, what stood there before stands there again.

    The files lie in a folder of `folder_beside`, which keeps what they replace until it is gone. Raises OutputError.
    """
    done: list[tuple[Path, Path | None]] = []
    try:
        for k, (file, place) in enumerate(moves.items()):
            kept = file.with_name(f"{k}.replaced") if place.exists() else None
            if kept:
                place.replace(kept)
            done.append((place, kept))
            file.replace(place)
    except BaseException as error:
        for place, kept in reversed(done):
            with contextlib.suppress(OSError):
                kept.replace(place) if kept else place.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        where = printable(next(iter(moves.values())), 300)
        raise OutputError(f"{where}: cannot be written ({error.strerror}); choose another place") from error
