"""Is a correct port ever blamed, and how small a mistake is seen? `make soundness SIZE=small`

SIZE is small, medium or large. Random networks are run by nn.RNN of PyTorch, SimpleRNN of Keras in a tf.function,
BasicRNNCell of TensorFlow, and three NumPy engines that sum in other orders. All of them are correct, so whatever is
beyond its rounding budget is a false alarm: each is printed, and the exit code is 1. Beside it stand the rules that
other tools judge by, on the same pairs. A second table gives the smallest change of one weight that is caught. Then the
same of GRUs and LSTMs, as every framework that has them writes and runs them, with their probes.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import engines
import numpy as np
from cases import INPUTS, SIZES, Case, Size, cases, readings
from detection import detection_table
from gated_detection import gated_detection_table
from gated_soundness import gated_table
from rules import RULES, rejects

from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.rounding import check
from rnnverify.runner_process import Limits
from rnnverify.trace import ZERO, Batch, Run


@dataclass
class Row:
    """One engine at one hidden size."""

    comparisons: int = 0
    alarms: int = 0
    worst: float = 0.0  # share of the budget
    pairs: int = 0
    rejected: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RULES, 0))

    def add(self, other: Row) -> None:
        self.comparisons += other.comparisons
        self.alarms += other.alarms
        self.worst = max(self.worst, other.worst)
        self.pairs += other.pairs
        self.rejected = {name: self.rejected[name] + other.rejected[name] for name in RULES}


Table = dict[tuple[str, int], Row]


def main(argv: list[str]) -> int:
    if len(argv) != 1 or argv[0] not in SIZES:
        print(f"wanted one of {', '.join(SIZES)}", file=sys.stderr)
        return 2
    size, started = SIZES[argv[0]], time.monotonic()
    table: Table = defaultdict(Row)
    overflowed = 0
    for case, states in outputs(size):
        overflowed += judge(case, states, table)
    print_table(table, overflowed)
    print(f"\n{detection_table(size.detection, size.tries)}")
    gated, alarms = gated_table(argv[0])
    print(f"\n{gated}\n\n{gated_detection_table(size.detection[:2], size.tries)}")
    alarms += sum(row.alarms for row in table.values())
    print(f"\n{alarms} false alarms; {time.monotonic() - started:.0f} s")
    return 1 if alarms else 0


def outputs(size: Size) -> Iterator[tuple[Case, dict[str, Run]]]:
    """Every case with what every engine computed; each framework runs all of them in one process."""
    with Runners(Limits(seconds=6 * 3600)) as runners:
        runners.start("keras")
        runners.start("torch")
        all_cases = list(cases(size))
        jobs = [
            {name: Job(f"{name}-{k}", name, Path(), reading, (case.batch,)) for name, reading in readings(case).items()}
            for k, case in enumerate(all_cases)
        ]
        runners.submit([job for each in jobs for job in each.values()])
        for case, each in zip(all_cases, jobs, strict=True):
            states = {
                f"numpy {order}": engines.run(case.network, [case.batch], order).runs[ZERO] for order in engines.ORDERS
            }
            for name, job in each.items():
                run = runners.collect(job)[0].runs[ZERO]
                states[name] = replace(run, y=np.array(run.y), states=tuple(np.array(h) for h in run.states))
                if isinstance(run.y, np.memmap) and run.y.filename:
                    shutil.rmtree(Path(run.y.filename).parent)
            yield case, states


def judge(case: Case, states: dict[str, Run], table: Table) -> int:
    """Hold every engine against its budget, and every pair against the rules; how many sequences overflowed."""
    overflowed = 0
    for k, kind in enumerate(INPUTS):
        if not all(np.isfinite(run.y[k]).all() for run in states.values()):
            overflowed += 1
            continue
        for name, whole in states.items():
            row = table[name, case.hidden]
            batch = Batch(ZERO, case.batch.x[k : k + 1])
            run = Run(batch, whole.y[k : k + 1], states=tuple(h[k : k + 1] for h in whole.states))
            budget = check(case.network, [run], "float32", case.ported)
            assert budget is not None
            row.comparisons += 1
            row.worst = max(row.worst, budget.used)
            if not budget.holds:
                row.alarms += 1
                print(f"FALSE ALARM: {name}, {case.words}, {kind} inputs: {budget}")
        for one, other in itertools.combinations(states, 2):
            found = rejects(states[one].y[k], states[other].y[k])
            for name in (one, other):
                table[name, case.hidden].pairs += 1
                for rule in found:
                    table[name, case.hidden].rejected[rule] += 1
    return overflowed


def print_table(table: Table, overflowed: int) -> None:
    print("Correct engines: steps held against the rounding budget, and pairs of engines that other rules reject\n")
    names = ["engine", "hidden", "compared", "false alarms", "worst share", "pairs", *RULES]
    print("  ".join(f"{name:>{max(12, len(name))}}" for name in names))
    totals: dict[str, Row] = defaultdict(Row)
    for (engine, hidden), row in sorted(table.items()):
        totals[engine].add(row)
        print(line(engine, str(hidden), row))
    whole = Row()
    for engine, row in totals.items():
        whole.add(row)
        print(line(engine, "all", row))
    halves = {name: count // 2 for name, count in whole.rejected.items()}  # each pair has two engines
    print(line("all", "all", replace(whole, pairs=whole.pairs // 2, rejected=halves)))
    print(f"\n{overflowed} sequences overflowed in some engine, and were left out")


def line(engine: str, hidden: str, row: Row) -> str:
    shares = [f"{row.rejected[name] / max(row.pairs, 1):.1%}" for name in RULES]
    cells = [engine, hidden, str(row.comparisons), str(row.alarms), f"{row.worst:.0%}", str(row.pairs), *shares]
    widths = [12] * 6 + [max(12, len(name)) for name in RULES]
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
