"""One model run in its own framework, and its trace kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnverify.batches import choose_batches
from rnnverify.describe import describe
from rnnverify.errors import OptionError
from rnnverify.execution import Prepared, collect, jobs_of, open_all, start
from rnnverify.native import Runners
from rnnverify.options import Options
from rnnverify.sides import parse_all
from rnnverify.trace import FILED, FROM_H0, Run, Trace
from rnnverify.trace_file import save


def run(source: str | Path, output: str | Path | None = None, options: Options | None = None) -> Trace:
    """Run one model file in its own framework; the trace is also saved to `output` where that is given.

    From `options.inputs` as `compare` does, but a file of inputs without `h0` is run from zero states only. Where the
    trace is saved, the one returned holds its provenance alone: `trace_file.load` maps the runs from the file.
    """
    options = options or Options()
    parsed = parse_all([str(source)])
    with Runners(options.limits) as runners:
        start(parsed, options, runners)
        sides, table = open_all(parsed, options)
        if sides[0].trace:
            raise OptionError(f"{source}: is a trace already; give a model file")
        native = options.engine != "reference"
        batches = choose_batches(sides, options.inputs, options.dtype, native=native, table=table)
        if options.inputs.file:
            batches = tuple(b for b in batches if b.name != FROM_H0 or b.x is batches[0].x)
        prepared = Prepared(options, sides, batches, None, *jobs_of(sides, batches, options))
        runners.submit(prepared.jobs)
        traces, hows = collect(prepared, runners)
        side = describe(sides[0], hows[0], traces[0])
        provenance = {
            "made_by": "rnnverify",
            "source": Path(source).name,
            "framework": side.framework,
            "network": side.shape,
            "engine": side.engine,
            "dtype": traces[0].provenance.get("dtype", "float64"),
            "how": side.how,
            "versions": dict(side.versions),
            "environment": dict(side.environment),
            "assumptions": list(side.assumptions),
            "inputs": {batch.name: batch.fingerprint() for batch in batches},
            "weights": side.weights_fingerprint,
            "kernels": sides[0].network.kernel_fingerprint() if sides[0].network else "",
        }
        if output:
            recorded = {name: each for name, each in traces[0].runs.items() if name in FILED}  # none cut to lengths
            save(Trace(recorded, provenance), Path(output))
        return Trace({name: _in_memory(r) for name, r in traces[0].runs.items()} if not output else {}, provenance)


def _in_memory(run: Run) -> Run:
    h_n, states, c_n = (tuple(np.array(array) for array in arrays) for arrays in (run.h_n, run.states, run.c_n))
    model_out = None if run.model_out is None else np.array(run.model_out)
    return Run(run.batch, np.array(run.y), h_n, states, c_n, model_out)
