"""Sides and inputs in words, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rnnverify.comparison import Side
from rnnverify.errors import printable
from rnnverify.inputs import InputOptions
from rnnverify.lengths import padding_words
from rnnverify.sides import Opened
from rnnverify.trace import Batch, Trace
from rnnverify.weights import structure


@dataclass(frozen=True)
class How:
    """How a side came to its trace."""

    engine: str
    words: str
    versions: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)


def ran_as(result: Mapping[str, str]) -> str:
    """Which layer a runner used, and whether the framework loaded the file itself."""
    if result["loaded"]:
        return f"{result['layer']}, loaded by {result['loaded']}"
    return f"{result['layer']}, rebuilt with the file's own arrays ({result['why_not']})"


def describe(side: Opened, how: How, ran: Trace) -> Side:
    """One side as the report shows it; `ran` is what it computed, with its padding."""
    reading, trace, network = side.reading, side.trace, side.network
    provenance = dict(trace.provenance) if trace else {}
    notes = reading.notes if reading else ()
    if trace and trace.not_compared:
        notes = (*notes, "arrays of the trace that are not compared: " + ", ".join(trace.not_compared))
    padding = padding_words(ran)
    if padding:
        notes = (*notes, f"hands out {padding} beyond the end of a sequence: only its own steps are compared")
    return Side(
        label=side.source.label,
        source=str(side.source),
        framework=reading.recipe.framework if reading else "trace",
        form=side.contents.form if side.contents else printable(provenance.get("form", "npz trace"), 40),
        writer=side.contents.writer if side.contents else _recorder(provenance),
        shape=structure(network) if network else "",
        engine=how.engine,
        how=how.words,
        assumptions=assumptions_of(side),
        not_compared=reading.not_compared if reading else (),
        notes=(*(side.contents.notes if side.contents else ()), *notes),
        weights_fingerprint=network.fingerprint() if network else str(provenance.get("weights", "")),
        versions=how.versions,
        environment=how.environment or _recorded_environment(provenance),
    )


def assumptions_of(side: Opened) -> tuple[str, ...]:
    """What the file of `side` does not state."""
    return side.assumptions or (side.reading.assumptions if side.reading else ())


def _recorder(provenance: Mapping[str, object]) -> str:
    words = [printable(provenance[key]) for key in ("framework", "source") if provenance.get(key)]
    return "recorded from " + ", ".join(words) if words else ""


def _recorded_environment(provenance: Mapping[str, object]) -> dict[str, str]:
    found = provenance.get("environment")
    items = found.items() if isinstance(found, dict) else ()
    return {printable(name, 40): printable(value, 80) for name, value in list(items)[:20]}


def describe_inputs(batches: Sequence[Batch], sides: Sequence[Opened], options: InputOptions) -> dict[str, object]:
    """What every side was run on."""
    traced = next((str(side.source) for side in sides if side.trace), None)
    return {
        "origin": traced or (str(options.file) if options.file else f"seed {options.seed}"),
        "seed": None if traced or options.file else options.seed,
        "batches": {
            batch.name: {
                "shape": list(batch.x.shape),
                "initial_state": batch.h0 is not None,
                **({} if batch.lengths is None else {"lengths": batch.lengths.tolist()}),
                "sha256": batch.fingerprint(),
            }
            for batch in batches
        },
    }
