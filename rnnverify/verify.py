"""The whole story on one page: sides -> traces -> square -> Comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from rnnverify import lengths, reference, search
from rnnverify.adequacy import Examiner
from rnnverify.alignment import aligned
from rnnverify.around import NOTHING
from rnnverify.batches import choose_batches
from rnnverify.comparison import Comparison, Pair, worst_verdict
from rnnverify.describe import assumptions_of, describe, describe_inputs
from rnnverify.diagnosis import diagnose, strangers
from rnnverify.errors import OptionError, printable
from rnnverify.execution import Prepared, collect, jobs_of, open_all, rounded, start
from rnnverify.interpreters import check_labels
from rnnverify.judge import judge
from rnnverify.native import Runners
from rnnverify.observed import Observed, matrix
from rnnverify.options import Options
from rnnverify.precision import narrow
from rnnverify.sides import Opened, Source, parse_all
from rnnverify.trace import Batch, Trace
from rnnverify.witness import Asked, save_witness


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


def prepare(parsed: Sequence[Source], options: Options) -> Prepared:
    """Read every side and choose the inputs. Raises an RnnverifyError where the sides cannot be compared."""
    sides, table = open_all(parsed, options)
    batches = choose_batches(sides, options.inputs, options.dtype, native=options.engine != "reference", table=table)
    plan = search.plan([(s.source.label, s.network) for s in sides], batches) if options.search else None
    batches = (*batches, plan.batch) if plan and plan.batch else batches
    return Prepared(options, sides, batches, plan, *jobs_of(sides, batches, options))


def finish(prepared: Prepared, runners: Runners) -> Comparison:
    """Collect what ran and judge it."""
    options, sides, plan = prepared.options, prepared.sides, prepared.plan
    padded, hows = collect(prepared, runners)
    traces = [lengths.cut(trace, side.network) for trace, side in zip(padded, sides, strict=True)]
    batches = lengths.cut_batches(prepared.batches)
    observed = [
        replace(o, whole=(*lengths.wholes(trace), *side.masked))
        for o, trace, side in zip(_observe(sides, traces, batches, options), padded, sides, strict=True)
    ]
    examiner = Examiner(batches, options.activation_error)
    by_label = {side.source.label: side for side in sides if side.reading}
    judged = [(b, _judge(observed[0], b, examiner, options)) for b in observed[1:]]
    pairs = tuple(_diagnosed(pair, observed[0], b, by_label) for b, pair in judged)
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


def _diagnosed(pair: Pair, baseline: Observed, candidate: Observed, sides: Mapping[str, Opened]) -> Pair:
    """`pair` with the mistakes behind a difference, and the lines of code that would have been right."""
    if pair.by_rounding != "DIFFERENT":
        return pair
    from rnnverify.porting.fix_code import with_code  # not before there is a difference: passing is the usual case

    findings = diagnose(baseline, candidate)
    words = strangers(baseline, candidate) if not findings else ""
    remarks = (*pair.remarks, words) if words else pair.remarks
    return replace(pair, findings=with_code(findings, (baseline.label, candidate.label), sides), remarks=remarks)


def _observe(
    sides: Sequence[Opened], traces: list[Trace], batches: tuple[Batch, ...], options: Options
) -> list[Observed]:
    """Each side with its reference; equal networks share one."""
    references: dict[str, Trace] = {}
    observed = []
    for side, trace in zip(sides, traces, strict=True):
        own, narrowed = None, rounded(side, options)
        network = narrowed or side.network
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
        observed.append(Observed(label, side.network, trace, own, assumed, around, narrowed, asked, framework))
    return observed
