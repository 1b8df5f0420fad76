"""Which inputs the sides are run on: those of a recording, of a file, or made for the first network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from rnnverify import lengths
from rnnverify.around import Embedding, features
from rnnverify.errors import InputsError, MismatchError, OptionError
from rnnverify.inputs import InputOptions, is_finite, make_batches
from rnnverify.masked import unmasked
from rnnverify.precision import DtypeName, holds, narrow
from rnnverify.probes import make_probes
from rnnverify.sides import Opened
from rnnverify.trace import FROM_H0, LENGTHS, TOKENS, ZERO, Batch, Trace
from rnnverify.whole_model import embedding_of, token_batch

_OUTPUTS = {ZERO: "y", FROM_H0: "y_from_h0", LENGTHS: "y_with_lengths"}
"""Batch to the name of its outputs in a trace file; probes are an extra that a record may leave out."""


def choose_batches(
    sides: Sequence[Opened],
    inputs: InputOptions,
    dtype: DtypeName | None,
    native: bool,
    table: Embedding | None = None,
) -> tuple[Batch, ...]:
    """The batches that every side can be run on, in `dtype` where one was asked for; probes for `native` runs only.

    `table` makes features of a file of tokens.

    Raises MismatchError where the sides, or recordings among them, cannot be held against each other.
    """
    batches = _in_dtype(_batches(sides, inputs, native, table), sides, dtype)
    _check_sizes(sides, batches)
    if any(batch.lengths is not None for batch in batches):
        for side in sides:
            if side.network:
                lengths.check(side.network, str(side.source))
    return _that_all_can_start_from(sides, batches)


def _batches(sides: Sequence[Opened], inputs: InputOptions, native: bool, table: Embedding | None) -> tuple[Batch, ...]:
    """The inputs of a recorded trace where a side is one, else made for the first network."""
    recorded = [(side, side.trace) for side in sides if side.trace]
    if not recorded:
        network = next(side.network for side in sides if side.network)
        batches = make_batches(inputs, network, partial(features, table) if table else None)
        batches = unmasked(sides, batches) if inputs.file else batches
        probes = make_probes(network) if inputs.probes and native else None
        embedding = embedding_of(sides)
        if embedding and not inputs.file:
            batches = (*batches, token_batch(embedding, batches[0], TOKENS))
        return (*batches, probes) if probes else batches
    if inputs.file:
        raise OptionError(f"--inputs: {recorded[0][0].source} is a trace, and brings the inputs that it was made from")
    if inputs.lengths:
        raise OptionError(f"--lengths: {recorded[0][0].source} is a trace, and brings the inputs that it was made from")
    first, trace = recorded[0]
    names = [name for name in trace.runs if all(name in other.runs for _, other in recorded)]
    if not names:
        raise MismatchError("the traces have no run in common: one starts from zeros, another from h0")
    batches = tuple(trace.runs[name].batch for name in names)
    for side, its in recorded:
        for batch in (run.batch for run in its.runs.values()):
            if not all(is_finite(array) for array in (batch.x, *batch.starts)):
                raise InputsError(f"{side.source}: its inputs hold NaN or infinity; record it with finite ones")
    for other, its in recorded[1:]:
        _check_same_outputs(first, trace, other, its)
        for batch in batches:
            if its.runs[batch.name].batch.fingerprint() != batch.fingerprint():
                found = f"{other.source} was made from other inputs than {first.source}"
                raise MismatchError(f"{found}; record both with the same --inputs, or the same --seed and sizes")
    return batches


def _check_same_outputs(first: Opened, trace: Trace, other: Opened, its: Trace) -> None:
    """Two recordings must hold the same outputs: what only one of them has would pass without being compared."""
    found = [_outputs(each) for each in (trace, its)]
    for side, missing in ((first, found[1] - found[0]), (other, found[0] - found[1])):
        if missing:
            words = f"{side.source} lacks {' and '.join(sorted(missing))}, which the other recording has"
            raise MismatchError(f"{words}; record both alike")


def _outputs(trace: Trace) -> set[str]:
    names = {_OUTPUTS[name] for name in trace.runs if name in _OUTPUTS}
    finals = {"h_n": any(run.h_n for run in trace.runs.values()), "c_n": any(run.c_n for run in trace.runs.values())}
    return names | {name for name, recorded in finals.items() if recorded}


def _in_dtype(batches: tuple[Batch, ...], sides: Sequence[Opened], dtype: DtypeName | None) -> tuple[Batch, ...]:
    """The inputs rounded to a narrower dtype that was asked for: every side then reads the same numbers."""
    if dtype not in ("float16", "bfloat16") or all(holds(batch.x, dtype) for batch in batches):
        return batches
    recorded = next((str(side.source) for side in sides if side.trace), None)
    if recorded:
        raise OptionError(f"--dtype {dtype}: the inputs of {recorded} do not fit in it; record the trace with --dtype")
    return tuple(replace(b.starting(lambda h: narrow(h, dtype)), x=narrow(b.x, dtype)) for b in batches)


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
            raise MismatchError(f"{gives}; {_merge_mode_of(sides) or 'are these two files the same model?'}")
        outputs = outputs or (side, size)


def _merge_mode_of(sides: Sequence[Opened]) -> str:
    """What to try where a merge mode was assumed; empty where none was."""
    for side in sides:
        if side.reading and any(text.startswith("merge_mode is") for text in side.reading.assumptions):
            return f"{side.source} does not state its merge mode: try --merge-mode {side.source.label}=sum"
    return ""


def _that_all_can_start_from(sides: Sequence[Opened], batches: tuple[Batch, ...]) -> tuple[Batch, ...]:
    """Without the batches whose initial states do not fit every network: other layers differ from zero states too."""
    networks = [side.network for side in sides if side.network]
    sizes = [network.state_sizes() for network in networks]
    fitting = tuple(b for b in batches if b.h0 is None or all(_fits(b, *each) for each in sizes))
    if not fitting or (len(fitting) < len(batches) and any(side.trace for side in sides)):
        units = [each for each, _ in sizes]
        found = f"the initial states of the trace do not fit the networks, whose layers have {units} units"
        raise MismatchError(f"{found}; record the trace from zero states")
    return fitting


def _fits(batch: Batch, sizes: list[int], cell_sizes: list[int]) -> bool:
    """Whether a network with states of these sizes can start from those of `batch`; cell states may be left out."""
    h0, c0 = ([state.shape[1] for state in states or ()] for states in (batch.h0, batch.c0))
    return h0 == sizes and c0 in ([], cell_sizes)


def _width(trace: Trace | None) -> int:
    return next(iter(trace.runs.values())).y.shape[2] if trace else 0
