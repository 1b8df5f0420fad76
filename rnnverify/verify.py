"""The whole story on one page: sides -> traces -> square -> Comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from rnnverify import reference
from rnnverify.adequacy import Examiner
from rnnverify.assumptions import Assumed, settle
from rnnverify.comparison import Comparison, Pair, Tolerance, worst_verdict
from rnnverify.describe import How, describe, describe_inputs, ran_as
from rnnverify.diagnosis import diagnose
from rnnverify.errors import InputsError, MismatchError, OptionError
from rnnverify.inputs import InputOptions, is_finite, make_batches
from rnnverify.judge import judge
from rnnverify.native import Job, Limits, MissingFrameworkError, Runners
from rnnverify.observed import Observed, matrix
from rnnverify.probes import make_probes
from rnnverify.sides import Opened, Source, framework_of, open_side, parse_all
from rnnverify.trace import FROM_H0, Batch, Run, Trace, save

Engine = Literal["auto", "native", "reference"]

_NATIVE_ACTIVATIONS = {"torch": ("tanh", "relu")}
"""What a framework's own layer can compute, where that is not everything."""


@dataclass(frozen=True)
class Options:
    """How a comparison is made."""

    inputs: InputOptions = field(default_factory=InputOptions)
    tolerance: Tolerance = field(default_factory=Tolerance)
    assumed: Assumed = field(default_factory=Assumed)
    engine: Engine = "auto"
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.engine not in get_args(Engine):
            raise OptionError(f"engine {self.engine!r}: wanted one of {', '.join(get_args(Engine))}")


def compare(*sources: str | Path, options: Options | None = None) -> Comparison:
    """Compare model files or traces, each against the first; every model is run by its own framework.

    A source is `PATH`, `PATH#selector`, or either after `keras:`, `torch:` or `tf:`. Raises an RnnverifyError where the
    comparison could not be made; a deviation is a result, not an error.
    """
    options = options or Options()
    if len(sources) < 2:
        raise OptionError("compare takes two sides or more: rnnverify compare model.h5 model.pt")
    parsed = parse_all([str(source) for source in sources])
    with Runners(options.limits) as runners:
        sides = _open(parsed, options, runners)
        batches = _batches(sides, options)
        _check_sizes(sides, batches)
        batches = _that_all_can_start_from(sides, batches)
        traces, hows = _run(sides, batches, options, runners)
        observed = _observe(sides, traces, batches)
        examiner = Examiner(batches)
        pairs = tuple(
            _diagnosed(judge(observed[0], b, examiner, options.tolerance), observed[0], b) for b in observed[1:]
        )
        return Comparison(
            verdict=worst_verdict(pairs),
            sides=tuple(describe(*both) for both in zip(sides, hows, strict=True)),
            pairs=pairs,
            matrix=matrix(observed),
            inputs=describe_inputs(batches, sides, options.inputs),
        )


def _diagnosed(pair: Pair, baseline: Observed, candidate: Observed) -> Pair:
    """`pair` with the mistakes behind a difference."""
    return replace(pair, findings=diagnose(baseline, candidate)) if pair.verdict == "DIFFERENT" else pair


def run(source: str | Path, output: str | Path | None = None, options: Options | None = None) -> Trace:
    """Run one model file in its own framework; the trace is also saved to `output` where that is given.

    From `options.inputs` as `compare` does, but a file of inputs without `h0` is run from zero states only. Where the
    trace is saved, the one returned holds its provenance alone: `trace.load` maps the runs from the file.
    """
    options = options or Options()
    parsed = parse_all([str(source)])
    with Runners(options.limits) as runners:
        sides = _open(parsed, options, runners)
        if sides[0].trace:
            raise OptionError(f"{source}: is a trace already; give a model file")
        batches = _batches(sides, options)
        if options.inputs.file:
            batches = tuple(b for b in batches if b.name != FROM_H0 or b.x is batches[0].x)
        traces, hows = _run(sides, batches, options, runners)
        side = describe(sides[0], hows[0])
        provenance = {
            "made_by": "rnnverify",
            "source": Path(source).name,
            "framework": side.framework,
            "network": side.shape,
            "engine": side.engine,
            "how": side.how,
            "versions": dict(side.versions),
            "assumptions": list(side.assumptions),
            "weights": side.weights_fingerprint,
        }
        if output:
            save(Trace(traces[0].runs, provenance), Path(output))
        return Trace({name: _in_memory(r) for name, r in traces[0].runs.items()} if not output else {}, provenance)


def _in_memory(run: Run) -> Run:
    copies = [tuple(np.array(array) for array in arrays) for arrays in (run.h_n, run.states)]
    return Run(run.batch, np.array(run.y), *copies)


def _open(parsed: Sequence[Source], options: Options, runners: Runners) -> tuple[Opened, ...]:
    """Start the runners, which import their frameworks meanwhile, and read the files."""
    frameworks = [framework_of(source) for source in parsed]
    if options.engine != "reference":
        for framework in sorted({f for f in frameworks if f}, key=lambda f: f == "torch"):  # the slowest first
            runners.start(framework)
    return settle([open_side(source) for source in parsed], options.assumed)


def _batches(sides: Sequence[Opened], options: Options) -> tuple[Batch, ...]:
    """The inputs of a recorded trace where a side is one, else made for the first network."""
    recorded = [(side, side.trace) for side in sides if side.trace]
    if not recorded:
        network = next(side.network for side in sides if side.network)
        batches = make_batches(options.inputs, network)
        probes = make_probes(network) if options.inputs.probes and options.engine != "reference" else None
        return (*batches, probes) if probes else batches
    if options.inputs.file:
        raise OptionError(f"--inputs: {recorded[0][0].source} is a trace, and brings the inputs that it was made from")
    first, trace = recorded[0]
    names = [name for name in trace.runs if all(name in other.runs for _, other in recorded)]
    if not names:
        raise MismatchError("the traces have no run in common: one starts from zeros, another from h0")
    batches = tuple(trace.runs[name].batch for name in names)
    for side, its in recorded:
        for batch in (run.batch for run in its.runs.values()):
            if not all(is_finite(array) for array in (batch.x, *(batch.h0 or ()))):
                raise InputsError(f"{side.source}: its inputs hold NaN or infinity; record it with finite ones")
    for other, its in recorded[1:]:
        for batch in batches:
            if its.runs[batch.name].batch.fingerprint() != batch.fingerprint():
                found = f"{other.source} was made from other inputs than {first.source}"
                raise MismatchError(f"{found}; record both with the same --inputs, or the same --seed and sizes")
    return batches


def _check_sizes(sides: Sequence[Opened], batches: Sequence[Batch]) -> None:
    """Every network must read what the inputs have, and give what the baseline gives."""
    width = batches[0].x.shape[2]
    outputs: tuple[Opened, int] | None = None
    for side in sides:
        network = side.network
        if network and network.input_size != width:
            reads = f"{side.source} reads {network.input_size} input features"
            raise MismatchError(f"{reads}, {sides[0].source} has {width}; are these two files the same model?")
        size = network.output_size if network else _width(side.trace)
        if outputs and outputs[1] != size:
            gives = f"{side.source} gives {size} outputs at each step, {outputs[0].source} {outputs[1]}"
            raise MismatchError(f"{gives}; are these two files the same model?")
        outputs = outputs or (side, size)


def _that_all_can_start_from(sides: Sequence[Opened], batches: tuple[Batch, ...]) -> tuple[Batch, ...]:
    """Without the batches whose initial states do not fit every network: other layers differ from zero states too."""
    networks = [side.network for side in sides if side.network]
    sizes = [[d.hidden_size for _, _, d in network.directions()] for network in networks]
    fitting = tuple(b for b in batches if b.h0 is None or all([h.shape[1] for h in b.h0] == each for each in sizes))
    if not fitting or (len(fitting) < len(batches) and any(side.trace for side in sides)):
        found = f"the initial states of the trace do not fit the networks, whose layers have {sizes} units"
        raise MismatchError(f"{found}; record the trace from zero states")
    return fitting


def _width(trace: Trace | None) -> int:
    return next(iter(trace.runs.values())).y.shape[2] if trace else 0


def _run(
    sides: Sequence[Opened], batches: tuple[Batch, ...], options: Options, runners: Runners
) -> tuple[list[Trace], list[How]]:
    """Every side's trace: recorded, run by its framework, or by the reference where asked for or all there is."""
    jobs: dict[str, Job] = {}
    refused: dict[str, str] = {}
    for side in sides:
        if side.reading and side.contents and options.engine != "reference":
            why = _cannot_run(side)
            if why and options.engine == "native":
                raise OptionError(f"--engine native: {side.source}: {why}")
            if why:
                refused[side.source.label] = why
            else:
                path = side.contents.path
                jobs[side.source.label] = Job(side.source.label, str(side.source), path, side.reading, batches)
    runners.submit(list(jobs.values()))
    traces, hows = [], []
    for side in sides:
        label = side.source.label
        trace, how = side.trace, How("trace", "recorded", {})
        if label in jobs:
            try:
                trace, result = runners.collect(jobs[label])
                how = How("native", ran_as(result), result["versions"])
            except MissingFrameworkError as error:
                if options.engine == "native":
                    raise
                refused[label] = str(error).partition(": ")[2]
        if trace is None and side.network:
            trace = reference.run(side.network, batches)
            words = f"float64 reference, because {refused[label]}" if label in refused else "float64 reference"
            how = How("reference", words, {"numpy": np.__version__})
        if trace is None:
            raise AssertionError("a side is a model or a trace")
        traces.append(trace)
        hows.append(how)
    return traces, hows


def _cannot_run(side: Opened) -> str:
    assert side.reading is not None
    framework = side.reading.recipe.framework
    can = _NATIVE_ACTIVATIONS.get(framework)
    used = {layer.activation for layer in side.reading.network.layers}
    if can and not used <= set(can):
        return f"torch.nn.RNN computes {' or '.join(can)}, not {'/'.join(sorted(used))}"
    return ""


def _observe(sides: Sequence[Opened], traces: list[Trace], batches: tuple[Batch, ...]) -> list[Observed]:
    """Each side with its reference; equal networks share one."""
    references: dict[str, Trace] = {}
    observed = []
    for side, trace in zip(sides, traces, strict=True):
        own = None
        if side.network:
            key = side.network.fingerprint()
            if key not in references:
                is_reference = trace.provenance.get("engine") == "reference"
                references[key] = trace if is_reference else reference.run(side.network, batches)
            own = references[key]
        observed.append(Observed(side.source.label, side.network, trace, own))
    return observed
