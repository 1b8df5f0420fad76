"""What can stop a comparison. A deviation cannot: it is a result.

Every message is one line that names the file, what was found, what was wanted, and what to do. The command line
prints it after `error:` and leaves with exit code 2.
"""

from __future__ import annotations

from pathlib import PurePath

EXIT_ERROR = 2
"""The exit code of every error: a difference has another, so that a script can tell them apart."""


def printable(text: object, limit: int = 200) -> str:
    """`text` on one line, control characters escaped, cut to `limit` characters: names come from strangers' files."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


class RnnverifyError(Exception):
    """The comparison could not be made."""

    kind = "error"


class FileError(RnnverifyError):
    """A file is missing, unreadable, truncated, hostile, or not what its form promises."""

    kind = "file"

    def __init__(self, path: str | PurePath, found: str, advice: str = "") -> None:
        self.path, self.found = str(path), found
        super().__init__(f"{printable(path, 300)}: {found}" + (f"; {advice}" if advice else ""))


class OutputError(RnnverifyError):
    """A report or a trace cannot be written."""

    kind = "output"


class UnsupportedError(FileError):
    """The file is sound, but holds something that this version does not compare. It is refused by name."""

    kind = "unsupported"


class SelectorError(FileError):
    """The file holds several recurrent parts, or none of the name that was asked for."""

    kind = "selector"


class MismatchError(RnnverifyError):
    """The sides cannot be run on the same inputs: other input or output sizes, other steps."""

    kind = "mismatch"


class OptionError(RnnverifyError):
    """An option has a value that makes no sense, or contradicts a file."""

    kind = "option"


class InputsError(RnnverifyError):
    """The input sequences cannot be used."""

    kind = "inputs"


class RunnerError(RnnverifyError):
    """A framework could not run its side: missing, crashed, out of time or memory.

    `details` is the traceback inside the runner, for --debug; empty where there is none.
    """

    kind = "runner"

    def __init__(self, message: str, details: str = "") -> None:
        self.details = details
        super().__init__(message)


def as_sentence(problem: Exception) -> RnnverifyError:
    """Whatever went wrong as an error of one sentence; what no one foresaw is a fault of the tool."""
    if isinstance(problem, RnnverifyError):
        return problem
    if isinstance(problem, MemoryError):
        return RnnverifyError("there is not enough memory: ask for fewer sequences or steps")
    if isinstance(problem, OSError):
        return RnnverifyError(f"the system refused: {printable(problem)}")
    words = f"{type(problem).__name__}: {printable(problem)}"
    return RnnverifyError(f"a fault of rnnverify itself, please report it ({words})")
