"""GRUs and LSTMs against their budgets: every framework on sequences, initial states of all sizes, and probes."""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from engines32 import SUMS, Sums, one_by_one
from engines32 import run as run_engine
from gated import GatedCase, gated_cases, written

from rnnverify.canonical import Network
from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.rounding import check
from rnnverify.runner_process import Limits
from rnnverify.trace import PROBE, Run

_SLOW = 2**21  # weights times steps, from which an engine that adds term after term takes minutes


@dataclass
class Tally:
    """One engine on one variant of a cell."""

    runs: int = 0
    states: int = 0
    alarms: int = 0
    worst: float = 0.0  # share of the budget, of sequences
    worst_probe: float = 0.0


def gated_table(size: str) -> tuple[str, int]:
    """The table, and how many false alarms it holds; each is printed as it comes."""
    tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
    with tempfile.TemporaryDirectory() as folder:
        for case, engine, network, runs in _outputs(size, Path(folder)):
            _judge(case, engine, network, runs, tallies[case.variant, engine])
    names = ["cell", "engine", "runs", "states", "false alarms", "sequences", "probes"]
    lines = ["GRU and LSTM: worst share of the budget", "", _line(names)]
    for (variant, engine), tally in tallies.items():
        shares = [f"{tally.worst:.1%}", f"{tally.worst_probe:.1%}"]
        lines.append(_line([variant, engine, *map(str, (tally.runs, tally.states, tally.alarms)), *shares]))
    return "\n".join(lines), sum(tally.alarms for tally in tallies.values())


def _line(cells: list[str]) -> str:
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, (18, 14, 6, 12, 12, 9, 9), strict=True))


def _judge(case: GatedCase, engine: str, network: Network, runs: list[Run], tally: Tally) -> None:
    for run in runs:
        if not all(np.isfinite(array).all() for array in (run.y, *run.states, *run.h_n, *run.c_n)):
            continue
        budget = check(case.network, [run], "float32", network)
        assert budget is not None
        tally.runs, tally.states = tally.runs + 1, tally.states + budget.checked
        if run.batch.name == PROBE:
            tally.worst_probe = max(tally.worst_probe, budget.used)
        else:
            tally.worst = max(tally.worst, budget.used)
        if not budget.holds:
            tally.alarms += 1
            print(f"FALSE ALARM: {engine}, {case.words}, {run.batch.name}: {budget}", flush=True)


def _outputs(size: str, folder: Path) -> Iterator[tuple[GatedCase, str, Network, list[Run]]]:
    """Every case, engine after engine: the weights that it holds, and what it computed."""
    cases = list(gated_cases(size))
    files = written(cases, folder)
    with Runners(Limits(seconds=6 * 3600)) as runners:
        jobs = [
            {name: Job(f"{name}-{k}", name, path, reading, case.batches) for name, (path, reading) in each.items()}
            for k, (case, each) in enumerate(zip(cases, files, strict=True))
        ]
        runners.submit([job for each in jobs for job in each.values()])
        for case, each in zip(cases, jobs, strict=True):
            for sums in SUMS:
                if len(case.network.layers) == 1 and not (sums is one_by_one and _is_large(case)):
                    yield case, f"NumPy {sums.__name__}", case.network, list(_numpy(case, sums))
            for name, job in each.items():
                yield case, name, job.reading.network, list(_copied(runners.collect(job)[0].runs.values()))


def _is_large(case: GatedCase) -> bool:
    weights = sum(array.size for _, array in case.network.tensors())
    return bool(weights * max(batch.x.shape[1] for batch in case.batches) > _SLOW)


def _numpy(case: GatedCase, sums: Sums) -> Iterator[Run]:
    with np.errstate(over="ignore", invalid="ignore"):
        for batch in case.batches:
            yield run_engine(case.network.layers[0], sums, batch)


def _copied(runs: Iterable[Run]) -> Iterator[Run]:
    """What lies in files of the runners, in memory."""
    for run in runs:
        states, h_n, c_n = (tuple(np.array(a) for a in each) for each in (run.states, run.h_n, run.c_n))
        yield replace(run, y=np.array(run.y), states=states, h_n=h_n, c_n=c_n)


if __name__ == "__main__":
    began = time.monotonic()
    table, found = gated_table(sys.argv[1])
    print(f"{table}\n\n{found} false alarms; {time.monotonic() - began:.0f} s")
    sys.exit(1 if found else 0)
