"""What became of all comparisons of a config: a table, worst first, and below it why each failure fails."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rnnverify.check import Checked
from rnnverify.errors import printable
from rnnverify.outcomes import Outcome
from rnnverify.reports import ComparisonFormat, many_report
from rnnverify.reports.json import dump
from rnnverify.reports.layout import indented, to_string
from rnnverify.reports.named import Named, Problem
from rnnverify.reports.terminal_pair import STYLES
from rnnverify.reports.words import largest


def render(checked: Checked, format: ComparisonFormat, *, width: int = 80, color: bool = False) -> str:
    """All of it in one format, also what could not be compared. Raises OptionError where a library is missing."""
    if format == "terminal":
        return to_string(_parts(checked), width, color)
    if format == "json":
        return dump(_plain(checked))
    return many_report(format).render_many([_named(outcome) for outcome in checked.outcomes])


def _named(outcome: Outcome) -> Named:
    problem = Problem(outcome.kind, outcome.error, outcome.file)
    return Named(outcome.name, outcome.result or problem, outcome.complaints)


def _plain(checked: Checked) -> dict[str, Any]:
    outcomes = [{"passed": outcome.passed, **asdict(outcome)} for outcome in checked.outcomes]
    return {"exit_code": checked.exit_code, **asdict(checked), "outcomes": outcomes}


def _parts(checked: Checked) -> Iterator[RenderableType]:
    ordered = sorted(checked.outcomes, key=_rank)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("")
    table.add_column("comparison", overflow="fold")
    table.add_column("verdict")
    table.add_column("deviation", justify="right")
    table.add_column("budget", justify="right")
    for outcome in ordered:
        mark = Text("ok", "green") if outcome.passed else Text("FAIL", "bold red")
        table.add_row(mark, Text(outcome.name), verdict_of(outcome), deviation_of(outcome), _budget(outcome))
    yield table
    for outcome in ordered:
        if not outcome.passed:
            yield Text(outcome.name, "bold")
            for sentence in (outcome.error, *outcome.complaints):
                if sentence:
                    yield indented(Text(sentence))
            yield Text()
    yield _summary(checked)


def _summary(checked: Checked) -> Text:
    passed = sum(outcome.passed for outcome in checked.outcomes)
    failed = len(checked.outcomes) - passed
    words = [f"{passed} passed", f"{failed} failed"]
    if checked.left_out:
        words.append(f"{checked.left_out} left out by --fail-fast")
    if checked.updated:
        words.append(f"{checked.lock} written" + (", without those that failed" if failed else ""))
    return Text(", ".join(words), "bold red" if failed else "bold green")


def _rank(outcome: Outcome) -> tuple[int, float, str]:
    """Failures first, those that were made before those that were not; then by the share of the budget."""
    group = 2 if outcome.passed else 0 if outcome.result else 1
    return group, -_used(outcome), outcome.name


def _used(outcome: Outcome) -> float:
    """The largest share of what rounding allows; the deviation stands in where states were not recorded."""
    if outcome.result is None:
        return 0.0
    deviations = [pair.headline.deviation for pair in outcome.result.pairs]
    if any(any(each.nonfinite) for each in deviations):
        return math.inf  # the worst of all
    used = [budget.used for pair in outcome.result.pairs for budget in pair.budgets if budget]
    return max(used, default=max(each.max_abs for each in deviations))


def verdict_of(outcome: Outcome) -> Text:
    """The verdict, or `error`."""
    if outcome.result is None:
        return Text("error", "bold red")
    return Text(outcome.result.verdict, STYLES[outcome.result.verdict])


def deviation_of(outcome: Outcome) -> str:
    """The largest deviation of any side."""
    return "" if outcome.result is None else largest(outcome.result)


def _budget(outcome: Outcome) -> str:
    known = outcome.result is not None and all(budget for pair in outcome.result.pairs for budget in pair.budgets)
    return f"{_used(outcome):.0%}" if known and _used(outcome) < 100 else "beyond" if known else ""


@contextmanager
def progress() -> Iterator[Callable[[Outcome, int, int], None]]:
    """Shows outcomes as they come, on standard error: a bar on a terminal, a plain line for each in a log."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading files")

        def show(outcome: Outcome, done: int, of: int) -> None:
            bar.update(task, completed=done, total=of, description=printable(outcome.name, 60))

        yield show


def _line(outcome: Outcome, done: int, of: int) -> None:
    mark = "ok  " if outcome.passed else "FAIL"
    words = f"[{done}/{of}] {mark} {printable(outcome.name)}  {verdict_of(outcome)} {deviation_of(outcome)}"
    print(words.rstrip(), file=sys.stderr, flush=True)
