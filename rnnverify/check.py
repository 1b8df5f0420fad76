"""All comparisons of a config in one go: files of the same framework share one process, one failure stops nothing."""

from __future__ import annotations

import difflib
import fnmatch
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnverify import lock as locks
from rnnverify.comparison import EXIT_CODES, Comparison
from rnnverify.config import Config, Declared
from rnnverify.errors import EXIT_ERROR, FileError, OptionError, RnnverifyError, as_sentence, printable
from rnnverify.native import Limits, Runners
from rnnverify.sides import parse_all
from rnnverify.verify import Prepared, finish, prepare, start

_DIFFERENT = EXIT_CODES["DIFFERENT"]


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


@dataclass(frozen=True)
class Checked:
    """The result of a check, in the order of the config."""

    outcomes: tuple[Outcome, ...]
    left_out: int  # comparisons that --fail-fast did not come to
    lock: str  # the lock that was held against them, or written; empty where there is none
    updated: bool  # whether it was written

    @property
    def exit_code(self) -> int:
        """1 where a comparison was made and fails, else 2 where one could not be made, else 3 or 0."""
        failed = [outcome for outcome in self.outcomes if not outcome.passed]
        made = [EXIT_CODES[each.result.verdict] for each in failed if each.result]
        if made and any(code != EXIT_CODES["INCONCLUSIVE"] for code in made):
            return _DIFFERENT
        return EXIT_ERROR if len(made) < len(failed) else EXIT_CODES["INCONCLUSIVE"] if made else 0


@dataclass(frozen=True)
class How:
    """How a check is made."""

    only: tuple[str, ...] = ()  # names, * allowed
    fail_fast: bool = False
    jobs: int = 1  # processes for each framework
    update: bool = False  # write the lock
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 1 <= self.jobs <= 64:
            raise OptionError(f"--jobs {self.jobs}: wanted 1 to 64")
        if self.update and self.fail_fast:
            raise OptionError("--update: would leave out what --fail-fast does not come to; give one of them")


Progress = Callable[[Outcome, int, int], None]
"""Told of every outcome as it comes, with how many are done and how many there are."""


def check(config: Config, how: How | None = None, progress: Progress | None = None) -> Checked:
    """Make every comparison of `config`, or those of `how.only`. Raises OptionError, FileError and OutputError."""
    how = how or How()
    chosen = _chosen(config, how.only)
    path = config.path.parent / locks.NAME
    lock = locks.read_lock(path)
    outcomes: list[Outcome] = []
    with ExitStack() as stack:
        shares = [stack.enter_context(Runners(how.limits)) for _ in range(how.jobs)]
        begun = deque(_begin(chosen, shares))
        for k, declared in enumerate(chosen):
            outcome = _outcome(declared, *begun.popleft())
            if lock is not None and not how.update and outcome.result:
                found = locks.complaints(declared.name, outcome.result, lock, config.growth)
                outcome = replace(outcome, complaints=(*outcome.complaints, *found))
            outcomes.append(outcome)
            if progress:
                progress(outcome, k + 1, len(chosen))
            if how.fail_fast and not outcome.passed:
                break
    if how.update:
        _update(path, config, outcomes, lock or {})
    shown = str(path) if how.update or lock is not None else ""
    return Checked(tuple(outcomes), len(chosen) - len(outcomes), shown, how.update)


def _chosen(config: Config, only: Sequence[str]) -> list[Declared]:
    names = [declared.name for declared in config.comparisons]
    for pattern in only:
        if pattern not in names and not fnmatch.filter(names, pattern):
            near = difflib.get_close_matches(pattern, names, n=1)
            hint = f"did you mean {printable(near[0])}?" if near else f"{printable(config.path)} declares other names"
            raise OptionError(f"--only {printable(pattern)}: is the name of no comparison; {hint}")
    return [
        declared
        for declared in config.comparisons
        if not only or any(declared.name == each or fnmatch.fnmatchcase(declared.name, each) for each in only)
    ]


_Begun = tuple[Prepared | Exception, Runners]


def _begin(chosen: Sequence[Declared], shares: Sequence[Runners]) -> list[_Begun]:
    """Read every file and hand all that is to run to the runners; comparisons with one baseline share a process."""
    baselines: dict[str, int] = {}
    begun: list[_Begun] = []
    for declared in chosen:
        runners = shares[baselines.setdefault(declared.sides[0], len(baselines)) % len(shares)]
        try:
            parsed = parse_all(declared.sides)
            start(parsed, declared.options, runners)
            begun.append((prepare(parsed, declared.options), runners))
        except Exception as problem:  # whatever is wrong with one must not stop the others
            begun.append((problem, runners))
    for share in shares:
        ready = [prepared for prepared, runners in begun if runners is share and isinstance(prepared, Prepared)]
        share.submit([job for prepared in ready for job in prepared.jobs])
    return begun


def _outcome(declared: Declared, prepared: Prepared | Exception, runners: Runners) -> Outcome:
    blank = Outcome(declared.name, declared.sides, None, "", (), declared.command)
    try:
        if isinstance(prepared, Exception):
            raise prepared
        result = finish(prepared, runners)
    except Exception as problem:  # as above
        error = as_sentence(problem)
        return replace(blank, error=str(error), kind=error.kind, file=_file_of(error, declared))
    return replace(blank, result=result, complaints=tuple(_unexpected(declared, result)))


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


def _update(path: Path, config: Config, outcomes: Sequence[Outcome], lock: Mapping[str, Any]) -> None:
    """Accept what passes. What was not run, or fails, stays as it was; what is no longer declared goes."""
    known = {declared.name for declared in config.comparisons}
    entries = {name: entry for name, entry in lock.items() if name in known}
    entries.update({each.name: locks.entry_of(each.result) for each in outcomes if each.passed and each.result})
    locks.write_lock(path, entries)
