"""The whole story on one page: sides -> traces -> square -> Comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from rnnverify import lengths, reference, search
from rnnverify.adapters import Reading
from rnnverify.adequacy import Examiner
from rnnverify.alignment import aligned
from rnnverify.around import NOTHING, Embedding
from rnnverify.assumptions import Assumed, settle
from rnnverify.batches import choose_batches
from rnnverify.canonical import Network
from rnnverify.comparison import Comparison, Pair, Tolerance, worst_verdict
from rnnverify.describe import How, assumptions_of, describe, describe_inputs, ran_as
from rnnverify.diagnosis import diagnose, strangers
from rnnverify.errors import OptionError, printable
from rnnverify.fix_code import with_code
from rnnverify.inputs import InputOptions
from rnnverify.interpreters import check_labels, check_pythons, python_of
from rnnverify.jobs import Job
from rnnverify.judge import judge
from rnnverify.masked import without_masked_steps
from rnnverify.native import MissingFrameworkError, Runners
from rnnverify.observed import Observed, matrix
from rnnverify.precision import DtypeName, narrow
from rnnverify.runner_process import Limits
from rnnverify.sides import Opened, Source, framework_of, open_side, parse_all
from rnnverify.step import Allowed
from rnnverify.trace import FILED, FROM_H0, Batch, Run, Trace, save
from rnnverify.whole_model import embedding_of, shared, with_outputs
from rnnverify.witness import Asked, save_witness

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
    dtype: DtypeName | None = None  # to run the sides in; None: what their weights are stored in
    activation_error: Allowed | None = None  # what an activation may be off; None: what was measured of it
    up_to_symmetry: bool = False  # whether the order, sign and scale of hidden units are free
    whole_model: bool = True  # whether embeddings and dense layers around are compared, where every side has them
    trust: tuple[str, ...] = ()  # labels of sides whose files their frameworks may load in unsafe modes
    search: bool = False  # for the worst inputs, by gradient
    save_witness: Path | None = None  # where the smallest case of a difference goes
    pythons: tuple[str, ...] = ()  # "A=/path/to/python": the interpreter that runs a side

    def __post_init__(self) -> None:
        if self.dtype and self.dtype not in get_args(DtypeName):
            raise OptionError(f"--dtype {self.dtype}: wanted one of {', '.join(get_args(DtypeName))}")
        if self.search and self.dtype in ("bfloat16", "float16"):
            raise OptionError(f"--search: its inputs are float32; leave out --dtype {self.dtype}")
        check_pythons(self.pythons)
        if self.engine not in get_args(Engine):
            raise OptionError(f"engine {self.engine!r}: wanted one of {', '.join(get_args(Engine))}")


def compare(*sources: str | Path, options: Options | None = None) -> Comparison:
    """Compare model files or traces, each against the first; every model is run by its own framework.

    A source is `PATH`, `PATH#selector`, or either after `keras:`, `torch:`, `flax:`, ... Raises an RnnverifyError where
    the comparison could not be made; a deviation is a result, not an error.
    """
    options = options or Options()
    if len(sources) < 2:
        raise OptionError("compare takes two sides or more: rnnverify compare model.h5 model.pt")
    parsed = parse_all([str(source) for source in sources])
    labels = [source.label for source in parsed]
    check_labels(options.pythons, labels)
    for label in options.trust:
        if label not in labels:
            raise OptionError(f"--trust {printable(label)}: the sides are {', '.join(labels)}")
    with Runners(options.limits) as runners:
        start(parsed, options, runners)
        prepared = prepare(parsed, options)
        runners.submit(prepared.jobs)
        return finish(prepared, runners)


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


def prepare(parsed: Sequence[Source], options: Options) -> Prepared:
    """Read every side and choose the inputs. Raises an RnnverifyError where the sides cannot be compared."""
    sides, table = _open(parsed, options)
    batches = choose_batches(sides, options.inputs, options.dtype, native=options.engine != "reference", table=table)
    plan = search.plan([(s.source.label, s.network) for s in sides], batches) if options.search else None
    batches = (*batches, plan.batch) if plan and plan.batch else batches
    return Prepared(options, sides, batches, plan, *_jobs(sides, batches, options))


def finish(prepared: Prepared, runners: Runners) -> Comparison:
    """Collect what ran and judge it."""
    options, sides, plan = prepared.options, prepared.sides, prepared.plan
    padded, hows = _collect(prepared, runners)
    traces = [lengths.cut(trace, side.network) for trace, side in zip(padded, sides, strict=True)]
    batches = lengths.cut_batches(prepared.batches)
    observed = [
        replace(o, whole=(*lengths.wholes(trace), *side.masked))
        for o, trace, side in zip(_observe(sides, traces, batches, options), padded, sides, strict=True)
    ]
    examiner = Examiner(batches, options.activation_error)
    readings = {side.source.label: side.reading for side in sides if side.reading}
    judged = [(b, _judge(observed[0], b, examiner, options)) for b in observed[1:]]
    pairs = tuple(_diagnosed(pair, observed[0], b, readings) for b, pair in judged)
    if plan:
        pairs = search.with_searched(pairs, plan, traces)
    result = Comparison(
        verdict=worst_verdict(pairs),
        sides=tuple(describe(*each) for each in zip(sides, hows, padded, strict=True)),
        pairs=pairs,
        matrix=matrix(observed),
        inputs=describe_inputs(prepared.batches, sides, options.inputs),
    )
    return _with_witness(result, [side.source for side in sides], observed, options) if options.save_witness else result


def _with_witness(
    result: Comparison, parsed: Sequence[Source], observed: Sequence[Observed], options: Options
) -> Comparison:
    assert options.save_witness
    given = tuple(source.given for source in parsed)
    asked = Asked(
        options.save_witness,
        given,
        options.assumed,
        options.tolerance,
        options.engine,
        options.inputs.probes,
        tuple(_more(options)),
    )

    def replay(sources: Sequence[str], inputs: Path | None) -> Comparison:
        made = replace(options.inputs, file=inputs, lengths=())
        return compare(*sources, options=replace(options, inputs=made, search=False, save_witness=None))

    return replace(result, witness=save_witness(asked, result, observed, replay))


def _more(options: Options) -> Iterator[str]:
    """What else a replay has to be told."""
    yield from ("--up-to-symmetry",) * options.up_to_symmetry
    yield from ("--no-whole-model",) * (not options.whole_model)
    yield from (part for label in options.trust for part in ("--trust", label))
    if options.dtype:
        yield from ("--dtype", options.dtype)
    if options.activation_error:
        yield from ("--activation-error", f"{options.activation_error.ulps:g},{options.activation_error.units:g}")
    for python in options.pythons:
        yield from ("--python", python)


def _judge(baseline: Observed, candidate: Observed, examiner: Examiner, options: Options) -> Pair:
    found = aligned(baseline, candidate) if options.up_to_symmetry else None
    if found is None:
        return judge(baseline, candidate, examiner, options.tolerance)
    moved, other, how = found
    batches = [batch for batch in examiner.batches if batch.name in moved.trace.runs]
    pair = judge(moved, other, Examiner(batches, examiner.allowed), options.tolerance)
    words = f"the units of {candidate.label} stand otherwise ({how}): what reads the outputs must be turned alike"
    return replace(pair, own_reasons=(*pair.own_reasons, words), reasons=(*pair.reasons, words))


def _diagnosed(pair: Pair, baseline: Observed, candidate: Observed, readings: Mapping[str, Reading]) -> Pair:
    """`pair` with the mistakes behind a difference, and the lines of code that would have been right."""
    if pair.by_rounding != "DIFFERENT":
        return pair
    findings = diagnose(baseline, candidate)
    words = strangers(baseline, candidate) if not findings else ""
    remarks = (*pair.remarks, words) if words else pair.remarks
    return replace(pair, findings=with_code(findings, (baseline.label, candidate.label), readings), remarks=remarks)


def run(source: str | Path, output: str | Path | None = None, options: Options | None = None) -> Trace:
    """Run one model file in its own framework; the trace is also saved to `output` where that is given.

    From `options.inputs` as `compare` does, but a file of inputs without `h0` is run from zero states only. Where the
    trace is saved, the one returned holds its provenance alone: `trace.load` maps the runs from the file.
    """
    options = options or Options()
    parsed = parse_all([str(source)])
    with Runners(options.limits) as runners:
        start(parsed, options, runners)
        sides, table = _open(parsed, options)
        if sides[0].trace:
            raise OptionError(f"{source}: is a trace already; give a model file")
        native = options.engine != "reference"
        batches = choose_batches(sides, options.inputs, options.dtype, native=native, table=table)
        if options.inputs.file:
            batches = tuple(b for b in batches if b.name != FROM_H0 or b.x is batches[0].x)
        prepared = Prepared(options, sides, batches, None, *_jobs(sides, batches, options))
        runners.submit(prepared.jobs)
        traces, hows = _collect(prepared, runners)
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


def _open(parsed: Sequence[Source], options: Options) -> tuple[tuple[Opened, ...], Embedding | None]:
    """The sides, and the embedding that makes features of tokens, whether it is compared or not."""
    sides = settle([open_side(source) for source in parsed], options.assumed)
    return without_masked_steps(shared(sides, options.whole_model)), embedding_of(sides)


def _jobs(
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


def _collect(prepared: Prepared, runners: Runners) -> tuple[list[Trace], list[How]]:
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
            trace = reference.run(_rounded(side, options) or side.network, lengths.cut_batches(prepared.batches))
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


def _rounded(side: Opened, options: Options) -> Network | None:
    """The network of `side` in the dtype that was asked for; None where none was."""
    dtype = options.dtype
    return side.network.mapped(lambda w: narrow(w, dtype)) if dtype and side.network else None


def _observe(
    sides: Sequence[Opened], traces: list[Trace], batches: tuple[Batch, ...], options: Options
) -> list[Observed]:
    """Each side with its reference; equal networks share one."""
    references: dict[str, Trace] = {}
    observed = []
    for side, trace in zip(sides, traces, strict=True):
        own, rounded = None, _rounded(side, options)
        network = rounded or side.network
        if network:
            key = network.fingerprint()
            if key not in references:
                is_reference = trace.provenance.get("engine") == "reference"
                references[key] = trace if is_reference else reference.run(network, batches)
            own = references[key]
        around = side.reading.around if side.reading else NOTHING
        around = around.mapped(partial(narrow, dtype=options.dtype)) if options.dtype else around
        framework = side.reading.recipe.framework if side.reading else str(trace.provenance.get("framework", ""))
        label, assumed = side.source.label, assumptions_of(side)
        asked = options.dtype or ""
        observed.append(Observed(label, side.network, trace, own, assumed, around, rounded, asked, framework))
    return observed
