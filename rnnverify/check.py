"""All comparisons of a config in one go, in this process or on a cluster, held against their lock."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnverify import lock as locks
from rnnverify.comparison import EXIT_CODES
from rnnverify.config import Config, Declared
from rnnverify.errors import EXIT_ERROR, OptionError, printable
from rnnverify.native import Runners
from rnnverify.outcomes import Outcome, outcomes
from rnnverify.runner_process import Limits

_DIFFERENT = EXIT_CODES["DIFFERENT"]


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
    jobs: int = 1  # more than one: the workers of a cluster on this machine
    update: bool = False  # write the lock
    limits: Limits = field(default_factory=Limits)
    scheduler: str = ""  # "tcp://host:8786": the Dask cluster to run on instead

    def __post_init__(self) -> None:
        if not 1 <= self.jobs <= 64:
            raise OptionError(f"--jobs {self.jobs}: wanted 1 to 64")
        if self.jobs > 1 and self.scheduler:
            raise OptionError(f"--jobs {self.jobs}: a cluster has workers of its own; leave out --jobs or --scheduler")
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
    found: list[Outcome] = []
    with closing(_made(chosen, how)) as made:
        for outcome in made:
            if lock is not None and not how.update and outcome.result:
                grown = locks.complaints(outcome.name, outcome.result, lock, config.growth)
                outcome = replace(outcome, complaints=(*outcome.complaints, *grown))
            found.append(outcome)
            if progress:
                progress(outcome, len(found), len(chosen))
            if how.fail_fast and not outcome.passed:
                break
    if how.update:
        _update(path, config, found, lock or {})
    shown = str(path) if how.update or lock is not None else ""
    return Checked(tuple(found), len(chosen) - len(found), shown, how.update)


def _made(chosen: Sequence[Declared], how: How) -> Generator[Outcome, None, None]:
    """What becomes of each, in order."""
    if how.jobs > 1 or how.scheduler:
        from rnnverify.cluster import outcomes_on_cluster

        yield from outcomes_on_cluster(chosen, how.limits, how.jobs, how.scheduler, fail_fast=how.fail_fast)
    else:
        with Runners(how.limits) as runners:
            yield from outcomes(chosen, runners)


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


def _update(path: Path, config: Config, outcomes: Sequence[Outcome], lock: Mapping[str, Any]) -> None:
    """Accept what passes. What was not run, or fails, stays as it was; what is no longer declared goes."""
    known = {declared.name for declared in config.comparisons}
    entries = {name: entry for name, entry in lock.items() if name in known}
    entries.update({each.name: locks.entry_of(each.result) for each in outcomes if each.passed and each.result})
    locks.write_lock(path, entries)
