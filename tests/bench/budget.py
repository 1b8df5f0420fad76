"""What judging costs beside the native run it judges, in one run: python tests/bench/budget.py

64 sequences of 1000 steps, 256 units, of a vanilla cell, a GRU and an LSTM, by every framework that has them; processor
seconds, best of three of each. One comparison checks each side once: below 1, judging a side costs less than running
it, its start included. Adequacy plants every mistake in the network, on the inputs of `compare` by default.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "soundness"))

from cases import Case, of, readings
from gated import GatedCase, written

from rnnverify.adapters.reading import Reading
from rnnverify.adequacy import Examiner
from rnnverify.canonical import GATES, CellKind, Direction, Layer, Network
from rnnverify.inputs import InputOptions, make_batches
from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.probes import make_probes
from rnnverify.rounding import check
from rnnverify.runner_process import Limits
from rnnverify.trace import ZERO, Batch

B, T, I, H = 64, 1000, 32, 256


def main() -> None:
    rng = np.random.default_rng(0)
    batch = Batch(ZERO, rng.normal(size=(B, T, I)).astype(np.float32))
    W, U, b = rng.normal(0, I**-0.5, (I, H)), rng.normal(0, 0.9 * H**-0.5, (H, H)), rng.uniform(-0.1, 0.1, H)
    vanilla = of("tanh", W, U, b, np.zeros(H))
    in_memory = {name: (Path(), reading) for name, reading in readings(Case(H, "", vanilla, vanilla, batch)).items()}
    print_costs("vanilla", vanilla, batch, in_memory)
    with tempfile.TemporaryDirectory() as folder:
        for cell in ("gru", "lstm"):
            network = gated(rng, cell)
            (files,) = written([GatedCase(cell, H, cell, network, (batch,))], Path(folder))
            print_costs(cell, network, batch, files)


def gated(rng: np.random.Generator, cell: CellKind) -> Network:
    G = len(GATES[cell])
    made = [rng.normal(0, scale, (G, rows, H)) for rows, scale in ((I, I**-0.5), (H, 0.9 * H**-0.5))]
    kernel, recurrent, bias = (a.astype(np.float32) for a in (*made, rng.uniform(-0.1, 0.1, (G, H))))
    return Network((Layer((Direction(kernel, recurrent, bias, np.zeros_like(bias)),), cell=cell),))


def print_costs(cell: str, network: Network, batch: Batch, files: Mapping[str, tuple[Path, Reading]]) -> None:
    with Runners(Limits()) as runners:
        jobs = [
            Job(f"{name}-{k}", name, path, reading, (batch,))
            for name, (path, reading) in files.items()
            for k in range(3)
        ]
        runners.submit(jobs)
        for name in files:
            results = [runners.collect(job) for job in jobs if job.source == name]
            alone = min(result["cpu_seconds"] for _, result in results)
            whole = alone + results[0][1]["import_seconds"]
            runs = list(results[0][0].runs.values())
            judged = min(seconds(lambda: check(network, runs, "float32")) for _ in range(3))  # noqa: B023 - called at once
            mark = "" if judged < whole else "   <- above"
            print(f"{cell}: budget {judged:.2f} s / {name} {whole:.2f} s: {judged / whole:.2f} (below 1){mark}")
            print(f"          without its start {alone:.2f} s: {judged / alone:.2f}", flush=True)
    probes = make_probes(network)
    given = (*make_batches(InputOptions(), network), *([probes] if probes else []))
    examined = min(seconds(lambda: Examiner(given).examine(network, "float32")) for _ in range(3))
    print(f"{cell}: adequacy {examined:.2f} s", flush=True)


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
