"""Files that the tool writes: all or nothing, and never in place of something that is no plain file."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
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
