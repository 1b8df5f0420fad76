"""`--write-fixed`: where a port is wrong, the file that would have been right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import cast

from rnnverify.adapters.reading import Reading
from rnnverify.assumptions import Assumed, settle
from rnnverify.comparison import Comparison, Fixed
from rnnverify.containers.contents import FrameworkName
from rnnverify.containers.flax_names import keys_of
from rnnverify.conversion import Conversion, write_network
from rnnverify.errors import OptionError, OutputError, RnnverifyError, printable
from rnnverify.options import Options
from rnnverify.sides import Opened, Source, is_recording, open_side, parse_all
from rnnverify.targets import FORMS, check_place, form_like, suffix_form


def write_fixed(result: Comparison, sources: Sequence[str | Path], target: str | Path, options: Options) -> Comparison:
    """`result`, a comparison of two `sources`, with what became of `target`.

    It gets the network of the first in the framework, form and names of the second, where weights or structure are why
    the two differ.

    Raises as `check_fixed` does; what fails later is a sentence in the result.
    """
    parsed = check_fixed(sources, target)
    (pair,) = result.pairs
    if pair.verdict != "DIFFERENT" or not pair.weight_reasons:
        return replace(result, fixed=Fixed("nothing was written: the networks of both files are the same"))
    baseline, candidate = settle([open_side(source) for source in parsed], options.assumed)
    try:
        made = _write(baseline, candidate, Path(target), options)
    except RnnverifyError as error:
        return replace(result, fixed=Fixed(f"nothing was written: {error}"))
    if not made.files:
        words = f"nothing was written: what {made.written_by} made of it is {made.verdict}"
        return replace(result, fixed=Fixed(f"{words}: {'; '.join(made.comparison.pairs[0].reasons)}"))
    note = f"the network of A as {made.form}, by {made.written_by}: {made.verdict} to A"
    return replace(result, fixed=Fixed(note, made.target, made.verdict))


def check_fixed(sources: Sequence[str | Path], target: str | Path) -> tuple[Source, ...]:
    """The sources taken apart; to be called before anything is run. Raises OptionError where they are not two models,
    OutputError where `target` is one of them, or something stands there."""
    parsed = parse_all([str(source) for source in sources])
    if len(parsed) != 2:
        raise OptionError(f"--write-fixed: puts one file right by another, and {len(parsed)} were given; give two")
    for source in parsed:
        if is_recording(source.path):
            raise OptionError(f"--write-fixed: {source} is a trace, and holds no weights; give two model files")
    check_place(Path(target), FORMS["pt"], {f"side {source.label}": source.path for source in parsed}, None)
    return parsed


def _write(baseline: Opened, candidate: Opened, target: Path, options: Options) -> Conversion:
    assert baseline.contents is not None and candidate.contents is not None
    form, sides = form_like(candidate.contents, _cells(candidate)), (baseline.contents, candidate.contents)
    place = check_place(target, form, dict(zip(("side A", "side B"), (s.path for s in sides), strict=True)), None)
    named = suffix_form(target)
    if named and not any(target.name.endswith(suffix) and suffix in form.suffixes for suffix in named.suffixes):
        found = f"is named as {named.words}, and side B is {form.words}"
        raise OutputError(f"{printable(target, 300)}: {found}; let it end in {form.suffixes[0]}")
    own = Assumed(*(tuple(_of_baseline(given)) for given in astuple(options.assumed)))
    return write_network(baseline, target, place, form, replace(options, assumed=own), _names(baseline, candidate))


def _of_baseline(given: Sequence[str]) -> Iterator[str]:
    """What options say of side A: `relu`, `A=relu`, or the bare label that --go-backwards takes."""
    for text in given:
        label, equals, _ = text.rpartition("=")
        if (label if equals else text).upper() == "A" or not (equals or text.upper() == "B"):
            yield text


def _cells(candidate: Opened) -> set[str]:
    """The classes of the cells of a Flax file, `linen.GRUCell`; of others none."""
    assert candidate.reading is not None
    recipe = candidate.reading.recipe
    return {f"{spec['api']}.{spec['cell']}" for spec in recipe.layers} if recipe.framework == "flax" else set()


def _names(baseline: Opened, candidate: Opened) -> tuple[str, ...]:
    """What the candidate calls its layers, where it has as many; empty: names are made."""
    assert baseline.reading is not None and candidate.reading is not None
    layers, reading = candidate.reading.network.layers, candidate.reading
    if len(layers) != len(baseline.reading.network.layers):
        return ()
    own = _NAMES.get(reading.recipe.framework, _module_names)
    return own(reading)


def _layer_names(reading: Reading) -> tuple[str, ...]:
    return tuple(layer.name for layer in reading.network.layers)


def _scopes(reading: Reading) -> tuple[str, ...]:
    """The keys that lead to the cells of each layer of a Flax file: `params/a/cell`, or two joined by a comma."""
    found = []
    for spec in reading.recipe.layers:
        directions = cast(Sequence[Mapping[str, str]], spec["directions"])
        found.append(",".join("/".join(keys_of(next(iter(names.values())))[:-2]) for names in directions))
    return tuple(found)


def _module_names(reading: Reading) -> tuple[str, ...]:
    """Those that stand in the selector, each for as many layers as its module has."""
    counts = [int(str(spec.get("num_layers", 1))) for spec in reading.recipe.layers]
    parts = reading.part.split("+")
    if len(parts) == 1:
        parts = parts * len(counts)
    names = [part for part, count in zip(parts, counts, strict=False) for _ in range(count)]
    fitting = len(names) == len(reading.network.layers)
    fitting = fitting and all(re.fullmatch(r"[\w./-]*", name, re.ASCII) for name in names)
    return tuple(names) if fitting else ()


_NAMES: Mapping[FrameworkName, Callable[[Reading], tuple[str, ...]]] = {
    "keras": _layer_names,
    "flax": _scopes,
    "equinox": lambda _: (),  # whose leaves have none
}
"""How the names of layers are told, by framework; elsewhere they are those of modules."""
