"""What the rounding budget costs beside the native run it judges, in one run: python tests/bench/budget.py

64 sequences of 1000 steps, 256 units, by nn.RNN, SimpleRNN and BasicRNNCell; processor seconds, best of three of each.
One
comparison checks each side once: below 1, judging a side costs less than running it, its start included.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "soundness"))

from cases import Case, of, readings

from rnnverify.jobs import Job
from rnnverify.native import Runners
from rnnverify.rounding import check
from rnnverify.runner_process import Limits
from rnnverify.trace import ZERO, Batch

B, T, I, H = 64, 1000, 32, 256


def main() -> None:
    rng = np.random.default_rng(0)
    W, U, b = rng.normal(0, I**-0.5, (I, H)), rng.normal(0, 0.9 * H**-0.5, (H, H)), rng.uniform(-0.1, 0.1, H)
    network = of("tanh", W, U, b, np.zeros(H))
    case = Case(H, "", network, network, Batch(ZERO, rng.normal(size=(B, T, I)).astype(np.float32)))
    with Runners(Limits()) as runners:
        jobs = [
            Job(f"{name}-{k}", name, Path(), reading, (case.batch,))
            for name, reading in readings(case).items()
            for k in range(3)
        ]
        runners.submit(jobs)
        for name in readings(case):
            results = [runners.collect(job) for job in jobs if job.source == name]
            alone = min(result["cpu_seconds"] for _, result in results)
            whole = alone + results[0][1]["import_seconds"]
            runs = list(results[0][0].runs.values())
            judged = min(seconds(lambda: check(network, runs, "float32")) for _ in range(3))  # noqa: B023 - called at once
            mark = "" if judged < whole else "   <- above"
            print(f"budget {judged:.2f} s / native run of {name} {whole:.2f} s: {judged / whole:.2f} (below 1){mark}")
            print(f"                without its start {alone:.2f} s: {judged / alone:.2f}")


def seconds(work: object) -> float:
    assert callable(work)
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
