"""Which layers around the recurrent parts are compared: those that every model has, in one shape."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnverify.around import NOTHING, Around, Embedding, Head, apply, features, same_shapes
from rnnverify.behind import EVERY, ends, read_at, whole
from rnnverify.canonical import Array
from rnnverify.errors import FileError, InputsError
from rnnverify.sides import Opened
from rnnverify.trace import LENGTHS, ZERO, Batch, Run, Trace

_LIKELY = ("linear", "softmax", "sigmoid", "relu", "tanh")  # activations of a dense layer
_PART = 64  # sequences and steps of a recording that tell them


def shared(sides: Sequence[Opened], whole: bool = True) -> tuple[Opened, ...]:
    """`sides` with the embedding and the dense layers that are compared, none of them where not the `whole` model is;
    others are named as not compared.

    A recording that was made from tokens gets the rows of the first embedding there is as its inputs. Raises
    InputsError where there is none, or a token is not in it.
    """
    sides = _from_tokens(sides)
    models = [side.reading.around for side in sides if side.reading]
    recorded = any(run.model_out is not None for side in sides if side.trace for run in side.trace.runs.values())
    several = len(models) > 1 or len(sides) == 1
    head = whole and models and (several or recorded) and _one_shape_of_heads(models)
    embedding = whole and several and _one_shape_of_tables(models)
    sides = _with_activations(sides) if head else sides
    return tuple(_left(side, keep_head=bool(head), keep_embedding=bool(embedding)) for side in sides)


def embedding_of(sides: Sequence[Opened]) -> Embedding | None:
    """The first embedding among `sides`."""
    return next((s.reading.around.embedding for s in sides if s.reading and s.reading.around.embedding), None)


def with_outputs(trace: Trace, head: Head | None) -> Trace:
    """`trace` with what the dense layers make of its outputs, float64; as it is where there are none."""
    if head is None:
        return trace
    runs = {name: replace(run, model_out=apply(head, np.asarray(run.y))) for name, run in trace.runs.items()}
    return replace(trace, runs=runs)


def _one_shape_of_heads(models: Sequence[Around]) -> bool:
    first = models[0].head
    return first is not None and all(each.head is not None and same_shapes(first, each.head) for each in models)


def _one_shape_of_tables(models: Sequence[Around]) -> bool:
    shapes = {each.embedding.table.shape if each.embedding else None for each in models}
    return len(shapes) == 1 and None not in shapes


def _with_activations(sides: Sequence[Opened]) -> tuple[Opened, ...]:
    """`sides` whose dense layers, of one shape, have the activation of another side where their files state none."""
    heads = [side.reading.around.head for side in sides if side.reading]
    count = len(heads[0].layers) if heads and heads[0] else 0
    known: list[tuple[str, str] | None] = []
    for k in range(count):
        stating = (side for side in sides if (head := _head(side)) and head.layers[k].stated)
        donor = next(stating, None)
        head = _head(donor) if donor else None
        known.append((head.layers[k].activation, f"borrowed from {donor.source.label}") if donor and head else None)
    if heads[0] and None in known:
        known = _as_recorded(heads[0], known, sides)
    return tuple(_with_those(side, known) for side in sides)


def _head(side: Opened) -> Head | None:
    return side.reading.around.head if side.reading else None


def _as_recorded(
    head: Head, known: Sequence[tuple[str, str] | None], sides: Sequence[Opened]
) -> list[tuple[str, str] | None]:
    """`known` with the activations that fit a recording of the whole model best, where no file states them."""
    runs = ((side, run) for side in sides if side.trace for run in side.trace.runs.values())
    recorded = next(((side, run) for side, run in runs if run.model_out is not None), None)
    if recorded is None or known.count(None) > 2 or recorded[1].y.shape[2] != head.input_size:
        return list(known)
    side, run = recorded
    part = (slice(_PART), slice(_PART))
    top = next(each.network.layers[-1] for each in sides if each.network)
    final = any(each.reading is not None and each.reading.around.reads_final for each in sides)
    reads = [read_at(at, top, run) for at in ((EVERY,) if whole(run) else ends(top, final))]
    assert run.model_out is not None
    wanted = np.asarray(run.model_out[part], np.float64)

    def off(names: tuple[str, ...]) -> float:
        layers = (replace(dense, activation=name) for dense, name in zip(head.layers, names, strict=True))
        named = Head(tuple(layers))
        made = [apply(named, np.asarray(read[part])) for read in reads if read is not None]
        return min(float(np.abs(each - wanted).max()) if each.shape == wanted.shape else np.inf for each in made)

    choices = [(each[0],) if each else _LIKELY for each in known]
    best = min(itertools.product(*choices), key=off)
    how = f"as recorded in {side.source.label}"
    return [each or (name, how) for each, name in zip(known, best, strict=True)]


def _with_those(side: Opened, known: Sequence[tuple[str, str] | None]) -> Opened:
    reading, head = side.reading, _head(side)
    if reading is None or head is None or all(dense.stated for dense in head.layers):
        return side
    layers, words = [], []
    for dense, given in zip(head.layers, known, strict=True):
        if dense.stated:
            layers.append(dense)
            continue
        activation, how = given or ("linear", "compared without one")
        layers.append(replace(dense, activation=activation))
        words.append(f"activation {activation} of {dense.name}: not in the file, {how}")
    around = replace(reading.around, head=Head(tuple(layers)), assumptions=(*reading.around.assumptions, *words))
    return replace(side, reading=replace(reading, around=around))


def _check_finite(side: Opened, around: Around) -> None:
    """Raise FileError where what is compared holds NaN or infinity."""
    tensors = [(around.embedding.name, around.embedding.table)] if around.embedding else []
    for dense in around.head.layers if around.head else ():
        tensors += [(dense.name, dense.kernel), (dense.name, dense.bias)]
    for name, array in tensors:
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            found = f"{name} holds {bad} weights that are NaN or infinite"
            raise FileError(side.source.given, found, "a model with such weights cannot be compared: repair the file")


def _left(side: Opened, *, keep_head: bool, keep_embedding: bool) -> Opened:
    reading = side.reading
    if reading is None or reading.around is NOTHING:
        return side
    embedding, head = reading.around.embedding, reading.around.head
    dropped = Around(None if keep_embedding else embedding, None if keep_head else head).words
    kept = (embedding if keep_embedding else None, head if keep_head else None)
    around = Around(*kept, reading.around.assumptions, reading.around.reads_final)
    _check_finite(side, around)
    said = around.assumptions if around.embedding or around.head else ()
    changed = replace(
        reading,
        around=around,
        not_compared=(*reading.not_compared, *dropped),
        assumptions=(*reading.assumptions, *said),
    )
    return replace(side, reading=changed, assumptions=(*side.assumptions, *said) if side.assumptions else ())


def _from_tokens(sides: Sequence[Opened]) -> tuple[Opened, ...]:
    table = embedding_of(sides)
    return tuple(replace(side, trace=_read(side, side.trace, table)) if side.trace else side for side in sides)


def _read(side: Opened, trace: Trace, embedding: Embedding | None) -> Trace:
    """`trace` with features in the place of tokens."""

    def of(run: Run) -> Run:
        if run.batch.x.ndim == 3:
            return run
        if embedding is None:
            found = f"{side.source} was recorded from tokens, x {run.batch.x.shape}, and no side has an embedding"
            raise InputsError(f"{found}; record what the embedding makes of them, x (B, T, I)")
        try:
            batch = replace(run.batch, x=features(embedding, run.batch.x))
        except IndexError as error:
            raise InputsError(f"{side.source} was recorded from {error}; are these the same model?") from error
        lengths = _unpadded(side, run.batch) if embedding.masks_zero else None
        return replace(run, batch=batch if lengths is None else replace(batch, name=LENGTHS, lengths=lengths))

    made = [of(run) for run in trace.runs.values()]
    return replace(trace, runs={run.batch.name: run for run in made})


def _unpadded(side: Opened, batch: Batch) -> Array | None:
    """How many steps each sequence of tokens (B, T) has before those of token 0, which are masked; None: all.

    Raises InputsError where those are not the last ones, or are all, or the lengths would be given twice.
    """
    counts = (batch.x != 0).sum(axis=1)
    if (counts == batch.x.shape[1]).all():
        return None
    padded_last = np.array_equal(batch.x != 0, np.arange(batch.x.shape[1]) < counts[:, None])
    if not padded_last or counts.min() < 1 or batch.name != ZERO:
        found = f"{side.source} was recorded from tokens that its embedding masks, 0, before others or in runs from h0"
        raise InputsError(f"{found}; record sequences that are padded at their end, or not at all")
    return np.asarray(counts)


def token_batch(embedding: Embedding, batch: Batch, name: str) -> Batch:
    """A batch of the shape of `batch`, from rows of the table that its numbers pick: the same on every machine."""
    picked = (batch.x[..., 0].astype(np.float64) * 2.0**20).astype(np.int64) % len(embedding.table)
    return Batch(name, features(embedding, picked))
