"""`--write-fixed`: where a port is wrong, the file that would have been right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path

from rnnverify.assumptions import Assumed, settle
from rnnverify.comparison import Comparison, Fixed
from rnnverify.conversion import write_network
from rnnverify.errors import OptionError, RunnerError, UnsupportedError
from rnnverify.sides import Opened, Source, open_side, parse_all
from rnnverify.targets import FORMS, check_place, form_like
from rnnverify.verify import Options


def write_fixed(result: Comparison, sources: Sequence[str | Path], target: str | Path, options: Options) -> Comparison:
    """`result`, a comparison of two `sources`, with what became of `target`: the baseline's network in the candidate's
    place, in its framework, form and names. It is written where weights or structure are why the sides differ.

    Raises OptionError where there are not two models, OutputError where something stands at `target` already.
    """
    parsed = parse_all([str(source) for source in sources])
    check_fixed(parsed, target)
    (pair,) = result.pairs
    if pair.verdict != "DIFFERENT" or not pair.weight_reasons:
        words = "the networks are the same, there is nothing to fix"
        return replace(result, fixed=Fixed(f"nothing was written: {words}"))
    baseline, candidate = settle([open_side(source) for source in parsed], options.assumed)
    if baseline.reading is None or candidate.contents is None or candidate.reading is None:
        raise OptionError("--write-fixed: a trace holds no weights; give two model files")
    form = form_like(candidate.contents)
    own = Assumed(*(tuple(_of_baseline(given)) for given in astuple(options.assumed)))
    try:
        place = check_place(Path(target), form, {"one of the sides": candidate.contents.path}, None)
        made = write_network(
            baseline, Path(target), place, form, replace(options, assumed=own), _names(baseline, candidate)
        )
    except (UnsupportedError, RunnerError) as error:
        return replace(result, fixed=Fixed(f"nothing was written: {error}"))
    if not made.files:
        words = f"nothing was written: what {made.written_by} wrote is {made.verdict} from A"
        return replace(result, fixed=Fixed(f"{words}: {'; '.join(made.comparison.pairs[0].reasons)}"))
    note = f"the network of A as {form.words}, written by {made.written_by}, is {made.verdict} to A"
    return replace(result, fixed=Fixed(note, made.target, made.verdict))


def check_fixed(sources: Sequence[Source], target: str | Path) -> None:
    """Before anything is run: what `write_fixed` would refuse."""
    if len(sources) != 2:
        raise OptionError(f"--write-fixed: fixes one file by another, and {len(sources)} were given; give two")
    check_place(Path(target), FORMS["ckpt"], {"one of the sides": sources[1].path}, None)
    check_place(Path(target), FORMS["pt"], {"one of the sides": sources[0].path}, None)


def _of_baseline(given: Sequence[str]) -> Iterator[str]:
    """What options say of side A: `relu`, `A=relu`, or the bare label that --go-backwards takes."""
    for text in given:
        label, equals, _ = text.rpartition("=")
        if (label if equals else text).upper() == "A" or not (equals or text.upper() == "B"):
            yield text


def _names(baseline: Opened, candidate: Opened) -> tuple[str, ...]:
    """What the candidate calls its layers, where it has as many; empty: names are made."""
    assert baseline.reading is not None and candidate.reading is not None
    layers, reading = candidate.reading.network.layers, candidate.reading
    if len(layers) != len(baseline.reading.network.layers):
        return ()
    if reading.recipe.framework == "keras":
        return tuple(layer.name for layer in layers)
    counts = [int(str(spec.get("num_layers", 1))) for spec in reading.recipe.layers]
    parts = reading.part.split("+")
    if len(parts) == 1:
        parts = parts * len(counts)
    names = [part for part, count in zip(parts, counts, strict=False) for _ in range(count)]
    fitting = len(names) == len(layers) and all(re.fullmatch(r"[\w./-]*", name, re.ASCII) for name in names)
    return tuple(names) if fitting else ()
