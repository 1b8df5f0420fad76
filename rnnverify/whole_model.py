"""Which layers around the recurrent parts are compared: those that every model has, in one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnverify.around import NOTHING, Around, Embedding, Head, apply, features, same_shapes
from rnnverify.errors import InputsError
from rnnverify.sides import Opened
from rnnverify.trace import Batch, Run, Trace


def shared(sides: Sequence[Opened]) -> tuple[Opened, ...]:
    """`sides` with the embedding and the dense layers that are compared; others are named as not compared.

    A recording that was made from tokens gets the rows of the first embedding there is as its inputs. Raises
    InputsError where there is none, or a token is not in it.
    """
    sides = _from_tokens(sides)
    models = [side.reading.around for side in sides if side.reading]
    recorded = any(run.model_out is not None for side in sides if side.trace for run in side.trace.runs.values())
    several = len(models) > 1
    head = models and (several or recorded) and _one_shape_of_heads(models)
    embedding = several and _one_shape_of_tables(models)
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


def _left(side: Opened, *, keep_head: bool, keep_embedding: bool) -> Opened:
    reading = side.reading
    if reading is None or reading.around is NOTHING:
        return side
    embedding, head = reading.around.embedding, reading.around.head
    dropped = [str(embedding)] * (embedding is not None and not keep_embedding)
    dropped += [str(dense) for dense in head.layers] if head and not keep_head else []
    around = Around(embedding if keep_embedding else None, head if keep_head else None, reading.around.assumptions)
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
            return replace(run, batch=replace(run.batch, x=features(embedding, run.batch.x)))
        except IndexError as error:
            raise InputsError(f"{side.source} was recorded from {error}; are these the same model?") from error

    return replace(trace, runs={name: of(run) for name, run in trace.runs.items()})


def token_batch(embedding: Embedding, batch: Batch, name: str) -> Batch:
    """A batch of the shape of `batch`, from rows of the table that its numbers pick: the same on every machine."""
    picked = (batch.x[..., 0].astype(np.float64) * 2.0**20).astype(np.int64) % len(embedding.table)
    return Batch(name, features(embedding, picked))
