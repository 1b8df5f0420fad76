"""Comparisons of a config made in this process: files of one framework share a runner, one failure stops nothing."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rnnverify.comparison import Comparison
from rnnverify.config import Declared
from rnnverify.errors import FileError, OptionError, RnnverifyError, as_sentence
from rnnverify.execution import Prepared, start
from rnnverify.native import Runners
from rnnverify.options import Options
from rnnverify.sides import parse_all
from rnnverify.verify import finish, prepare


@dataclass(frozen=True)
class Outcome:
    """What became of one declared comparison."""

    name: str
    sides: tuple[str, ...]
    result: Comparison | None  # None where it could not be made
    error: str  # why not; empty where it was made
    complaints: tuple[str, ...]  # sentences: why it fails although it was made; empty where it passes
    command: str  # that makes it by itself
    kind: str = ""  # of the error, as in errors.py
    file: str = ""  # that the error is about, the last side where it names none

    @property
    def passed(self) -> bool:
        return not self.error and not self.complaints


def outcomes(chosen: Sequence[Declared], runners: Runners, folder: Path = Path()) -> Iterator[Outcome]:
    """Make every comparison of `chosen`, and tell what became of each in their order.

    Every file is read first, and all that is to run is handed to `runners` at once. Paths are relative to `folder`.
    """
    begun = deque(_begun(declared, runners, folder) for declared in chosen)
    runners.submit([job for prepared in begun if isinstance(prepared, Prepared) for job in prepared.jobs])
    for declared in chosen:  # what is done with is let go
        yield _outcome(declared, begun.popleft(), runners, folder)


def _begun(declared: Declared, runners: Runners, folder: Path) -> Prepared | Exception:
    try:
        parsed = parse_all(declared.sides, folder)
        options = _seen_from(folder, declared.options)
        start(parsed, options, runners)
        return prepare(parsed, options)
    except Exception as problem:  # whatever is wrong with one must not stop the others
        return problem


def _seen_from(folder: Path, options: Options) -> Options:
    """`options` with paths relative to `folder`. Raises OptionError where an interpreter is not here."""
    if folder == Path():
        return options
    pairs = [text.partition("=") for text in options.pythons]
    pythons = tuple(f"{a}={folder / b if '/' in b and b[0] != '~' else b}" for a, _, b in pairs)
    file = options.inputs.file
    return replace(options, pythons=pythons, inputs=replace(options.inputs, file=folder / file if file else None))


def _outcome(declared: Declared, prepared: Prepared | Exception, runners: Runners, folder: Path) -> Outcome:
    try:
        if isinstance(prepared, Exception):
            raise prepared
        result = finish(prepared, runners)
    except Exception as problem:  # as above
        return unmade(declared, as_sentence(problem), folder)
    file = declared.options.inputs.file
    if file and result.inputs["origin"] == str(folder / file):  # a report says what the config says
        result = replace(result, inputs={**result.inputs, "origin": str(file)})
    failings = tuple(_unexpected(declared, result))
    return Outcome(declared.name, declared.sides, result, "", failings, declared.command)


def unmade(declared: Declared, error: RnnverifyError, folder: Path = Path()) -> Outcome:
    """A comparison that could not be made, and why; paths in `folder` as they were given."""
    here = f"{folder}{os.sep}" if folder != Path() else ""
    words, file = str(error).removeprefix(here), _file_of(error, declared).removeprefix(here)
    return Outcome(declared.name, declared.sides, None, words, (), declared.command, error.kind, file)


def _file_of(error: RnnverifyError, declared: Declared) -> str:
    if isinstance(error, FileError):
        return error.path
    with suppress(OptionError):
        return str(parse_all(declared.sides)[-1].path)
    return declared.sides[-1]


def _unexpected(declared: Declared, result: Comparison) -> list[str]:
    """Why the verdict does not pass."""
    passes = result.verdict in declared.expect if declared.expect else result.exit_code == 0
    if passes:
        return []
    wanted = f", expected {' or '.join(declared.expect)}" if declared.expect else ""
    worst = next(pair for pair in result.pairs if pair.verdict == result.verdict)
    return [f"{result.verdict}{wanted}: {'; '.join(worst.reasons)}", f"to see all of it: {declared.command}"]
