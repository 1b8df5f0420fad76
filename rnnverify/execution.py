"""Running the sides: which frameworks run what, and what came back of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnverify import lengths, reference, search
from rnnverify.around import Embedding
from rnnverify.assumptions import settle
from rnnverify.canonical import Network
from rnnverify.describe import How, ran_as
from rnnverify.errors import OptionError
from rnnverify.interpreters import python_of
from rnnverify.jobs import Job
from rnnverify.masked import without_masked_steps
from rnnverify.native import MissingFrameworkError, Runners
from rnnverify.options import Options
from rnnverify.precision import narrow
from rnnverify.sides import Opened, Source, framework_of, open_side
from rnnverify.trace import Batch, Trace
from rnnverify.whole_model import embedding_of, shared, with_outputs

_NATIVE_ACTIVATIONS = {"torch": ("tanh", "relu")}
"""What a framework's own layer can compute, where that is not everything."""


@dataclass(frozen=True)
class Prepared:
    """A comparison whose files are read: what is left is to run its jobs and to judge."""

    options: Options
    sides: tuple[Opened, ...]
    batches: tuple[Batch, ...]
    plan: search.Plan | None
    by_side: Mapping[str, Job]  # label to job, for the sides that their own frameworks run
    refused: Mapping[str, str]  # label to why its framework does not

    @property
    def jobs(self) -> list[Job]:
        return list(self.by_side.values())


def start(parsed: Sequence[Source], options: Options, runners: Runners) -> None:
    """Start the runners that `prepared` sides will need: they import their frameworks while the files are read."""
    if options.engine != "reference":
        needed = {(framework_of(source), python_of(source.label, options.pythons)) for source in parsed}
        for framework, python in sorted(needed, key=lambda both: both[0] == "torch"):  # the slowest first
            if framework:
                runners.start(framework, python)


def open_all(parsed: Sequence[Source], options: Options) -> tuple[tuple[Opened, ...], Embedding | None]:
    """The sides, and the embedding that makes features of tokens, whether it is compared or not."""
    sides = settle([open_side(source) for source in parsed], options.assumed)
    return without_masked_steps(shared(sides, options.whole_model)), embedding_of(sides)


def jobs_of(
    sides: Sequence[Opened], batches: tuple[Batch, ...], options: Options
) -> tuple[Mapping[str, Job], Mapping[str, str]]:
    """What frameworks are to run, and why they do not run the others; both by label."""
    jobs: dict[str, Job] = {}
    refused: dict[str, str] = {}
    for side in sides:
        label = side.source.label
        if side.reading and side.contents and options.engine != "reference":
            why = _cannot_run(side, options)
            if why and options.engine == "native":
                raise OptionError(f"--engine native: {side.source}: {why}")
            if why:
                refused[label] = why
            else:
                path, python = side.contents.path, python_of(label, options.pythons)
                trusted, head = label in options.trust, side.reading.around.head is not None
                what = (label, str(side.source), path, side.reading, batches)
                jobs[label] = Job(*what, options.dtype, trusted, python, head)
    return jobs, refused


def collect(prepared: Prepared, runners: Runners) -> tuple[list[Trace], list[How]]:
    """Every side's trace: recorded, run by its framework, or by the reference where asked for or all there is."""
    jobs, refused, options = prepared.by_side, dict(prepared.refused), prepared.options
    traces, hows = [], []
    for side in prepared.sides:
        label = side.source.label
        trace, how = side.trace, How("trace", "recorded", {})
        if label in jobs:
            try:
                trace, result = runners.collect(jobs[label])
                how = How("native", _ran(result, trace), result["versions"], result["environment"])
            except MissingFrameworkError as error:
                if options.engine == "native":
                    raise
                refused[label] = str(error).partition(": ")[2]
        if trace is None and side.network:
            trace = reference.run(rounded(side, options) or side.network, lengths.cut_batches(prepared.batches))
            trace = with_outputs(trace, side.reading.around.head) if side.reading else trace
            words = f"float64 reference, because {refused[label]}" if label in refused else "float64 reference"
            how = How("reference", words, {"numpy": np.__version__})
        if trace is None:
            raise AssertionError("a side is a model or a trace")
        traces.append(trace)
        hows.append(how)
    return traces, hows


def _ran(result: Mapping[str, Any], trace: Trace) -> str:
    dtype = trace.provenance["dtype"]
    return ran_as(result) + (f", in {dtype}" if dtype != "float32" else "")


def _cannot_run(side: Opened, options: Options) -> str:
    assert side.reading is not None
    framework = side.reading.recipe.framework
    if side.reading.recipe.cannot_run:
        return side.reading.recipe.cannot_run
    if framework == "onnx" and options.dtype not in (None, "float32"):
        return f"onnxruntime computes recurrent nodes in float32 only, not in {options.dtype}"
    can = _NATIVE_ACTIVATIONS.get(framework)
    used = {layer.activation for layer in side.reading.network.layers}
    if can and not used <= set(can):
        return f"torch.nn.RNN computes {' or '.join(can)}, not {'/'.join(sorted(used))}"
    return ""


def rounded(side: Opened, options: Options) -> Network | None:
    """The network of `side` in the dtype that was asked for; None where none was."""
    dtype = options.dtype
    return side.network.mapped(lambda w: narrow(w, dtype)) if dtype and side.network else None
