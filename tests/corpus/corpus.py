"""Hold the tool against a corpus of genuine files: python tests/corpus/corpus.py CORPUS [--only PATTERN] [--engine E]

Every model is read, run by its own framework on the inputs that its own version recorded, and compared with the outputs
of that version. Then every pair of cases with the same weights is judged, every pair with a known mistake, and every
malformed or hostile file is given to the command line. Exit code 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import corpus_bad
import corpus_cases
import corpus_pairs
import corpus_runs
from corpus_runs import Outcome
from rich.console import Console
from rich.markup import escape
from rich.table import Table

COLUMNS = ("cases", "read", "native", "right", "refused", "unexpectedly", "wrong")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--only", default="", metavar="PATTERN", help="cases whose id matches: 'keras-2.*', 'rnn_bi'")
    parser.add_argument("--engine", choices=("native", "reference"), default="native")
    options = parser.parse_args(arguments)
    genuine, mutants, bad = corpus_cases.find(options.corpus, options.only)
    if not genuine and not mutants and not bad:
        print(f"{options.corpus} holds no case that matches {options.only!r}", file=sys.stderr)
        return 2
    console, began = Console(width=110), time.monotonic()
    outcomes = corpus_runs.run_all(genuine, options.engine)
    console.print(table(outcomes))
    took(console, "read and run", began)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        groups = corpus_pairs.judge_groups(outcomes, pool)
        took(console, f"{groups.pairs} pairs of equal weights judged on the reference", began)
        records = corpus_pairs.judge_records(outcomes, pool)
        took(console, f"{records.pairs} models judged against their records", began)
        natively = corpus_pairs.judge_native(outcomes)
        took(console, f"{natively.pairs} pairs of equal weights judged natively", began)
        planted = corpus_pairs.judge_mutants(mutants, options.engine, pool)
    took(console, f"{planted.pairs} pairs with a known mistake judged", began)
    hostile = corpus_bad.judge_bad(bad)
    took(console, f"{len(bad)} malformed and hostile files given to the command line", began)
    wrong = [f"{outcome.case.id}: {outcome.wrong}" for outcome in outcomes if outcome.wrong]
    wrong += [*groups.wrong, *records.wrong, *natively.wrong, *planted.wrong, *hostile]
    unexpected = [f"{o.case.id}: {o.refusal}" for o in outcomes if o.refusal and not o.expected]
    listing(console, "refused, not expected", unexpected)
    listing(console, "seen to differ, and no mistake named", planted.unnamed)
    listing(console, "wrong", wrong)
    return 1 if wrong else 0


def table(outcomes: Iterable[Outcome]) -> Table:
    """Counts by framework and version."""
    rows: dict[str, list[int]] = defaultdict(lambda: [0] * len(COLUMNS))
    for outcome in outcomes:
        counts = (
            True,
            bool(outcome.parts),
            any(part.native for part in outcome.parts),
            bool(outcome.parts) and not outcome.wrong,
            bool(outcome.refusal) and outcome.expected,
            bool(outcome.refusal) and not outcome.expected,
            bool(outcome.wrong),
        )
        for name in (outcome.case.version, "all"):
            rows[name] = [a + b for a, b in zip(rows[name], counts, strict=True)]
    found = Table("framework and version", title="Genuine files against the outputs that their own version recorded")
    for name in COLUMNS:
        found.add_column(name, justify="right")
    total = rows.pop("all", None)
    for name, row in sorted(rows.items()):
        found.add_row(name, *(str(count) if count else "" for count in row))
    if total:
        found.add_section()
        found.add_row("all", *map(str, total))
    return found


def took(console: Console, what: str, began: float) -> None:
    console.print(f"{what}, {time.monotonic() - began:.0f} s from the start")


def listing(console: Console, title: str, lines: Sequence[str]) -> None:
    console.print(f"\n{title}: {len(lines)}")
    for line in lines:
        console.print(escape(f"  {line}"), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
