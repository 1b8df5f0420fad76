"""The lines of code that would have been right: wrong tensors of one file from those of another, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rnnverify.adapters.reading import Reading
from rnnverify.canonical import Layer, Network
from rnnverify.finding import Finding
from rnnverify.porting.assembly import PARTS, Part, assemble
from rnnverify.porting.origins import Origins, origins
from rnnverify.porting.setters import SETTERS, set_to
from rnnverify.porting.wordings import WORDINGS, beyond
from rnnverify.sides import Opened


def with_code(
    findings: tuple[Finding, ...], labels: tuple[str, str], sides: Mapping[str, Opened]
) -> tuple[Finding, ...]:
    """`findings` of a pair of sides, with the names of the wrong tensors, and code where both sides are files.

    In the code `A[name]` is the array that side A holds under that name; a comment says so.
    """
    readings = {label: sides[label].reading for label in labels if label in sides}
    networks = [(each, reading.network) for each in findings if (reading := readings.get(each.side))]
    about_tensors = any(any(_parts(each.tensors, network)) for each, network in networks)
    places = {label: origins(sides[label]) if about_tensors else None for label in readings}
    return tuple(_with_code(each, labels[each.side == labels[0]], readings, places) for each in findings)


def _with_code(
    finding: Finding, other: str, readings: Mapping[str, Reading | None], places: Mapping[str, Origins | None]
) -> Finding:
    wrong, right = readings.get(finding.side), readings.get(other)
    if wrong is None:
        return finding
    parts = set(_parts(finding.tensors, wrong.network))
    names = tuple(dict.fromkeys(_names(parts, wrong, places[finding.side])))
    if right is None:
        return replace(finding, names=names)
    lines = tuple(dict.fromkeys(_lines(parts, (right, places[other]), (wrong, places[finding.side]), other)))
    head = f"# {other}[name]: the array that {other} holds; {SETTERS[wrong.recipe.framework].held}"
    comments = all(line.startswith("#") for line in lines)
    facts = _facts(finding.tensors, right, wrong)
    return replace(finding, names=names, code=(*[head] * (not comments), *lines, *dict.fromkeys(facts)))


def _parts(tensors: Sequence[str], network: Network) -> Iterator[Part]:
    """What of which direction is among `tensors`; a bias of all gates or of some is one."""
    for where, _, _ in network.directions():
        for tensor in tensors:
            start, _, part = tensor.partition(f"{where} ")
            if not start and part in PARTS:
                yield where, part
            elif not start and "bias" in part and not part.startswith("reverse"):
                yield where, "bias"


def _names(parts: set[Part], reading: Reading, places: Origins | None) -> Iterator[str]:
    """The tensors of the file that hold `parts`."""
    for d, (where, _, _) in enumerate(reading.network.directions()):
        for part, tensors in PARTS.items():
            if (where, part) not in parts:
                continue
            for tensor in tensors:
                found = places.directions[d].get(tensor) if places else None
                yield from places.holders(found) if places and found is not None else _by_role(where, part, reading)


def _by_role(where: str, part: str, reading: Reading) -> Iterator[str]:
    """The same where the numbers of a tensor are computed, such as by weight_norm."""
    for name, role in reading.roles.items():
        if re.match(rf"{re.escape(where)} (?!reverse )(?:.*and )?{part}", role):
            yield name


Placed = tuple[Reading, Origins | None]


def _lines(parts: set[Part], right: Placed, wrong: Placed, other: str) -> Iterator[str]:
    """A statement for each tensor that holds one of `parts`; a comment for what no tensor can be set to."""
    ours, theirs = right[0].network, wrong[0].network
    if not parts or right[1] is None or wrong[1] is None:
        return
    made = assemble(right[1], ours, wrong[1], theirs, other)
    if made is None:
        return
    for assignment in made.assignments:
        if assignment.holds & parts - made.beyond and (line := set_to(assignment, wrong[0])):
            yield line
    refusals = list(_refusals(right[0], wrong[0]))
    for where, part in sorted(parts & made.beyond):
        sentence = refusals[int(where.split()[1])]
        yield f"# {sentence or f'{where}: {_why(part, where, right, wrong)}'}"


def _why(part: str, where: str, right: Placed, wrong: Placed) -> str:
    """Why the file of `wrong` cannot hold that part of `right` as it is."""
    pairs = zip(right[0].network.directions(), wrong[0].network.directions(), strict=True)
    d, ours, theirs = next((k, a, b) for k, ((_, _, a), (w, _, b)) in enumerate(pairs) if w == where)
    if part == "bias":
        return (
            "its cell has no second bias of the candidate, and one bias cannot stand for both"
            if theirs.has_bias
            else "it has no bias: make the layer with one"
        )
    name = part.replace(" ", "_")
    if getattr(ours, name) is None or getattr(theirs, name) is None:
        return f"it has {'a' if getattr(ours, name) is None else 'no'} {part}: make the layer as the other side's"
    for whose, places in (("its", wrong[1]), ("the other side's", right[1])):
        if places and name not in places.directions[d]:
            return f"{whose} {part} is computed from what the file holds, as weight_norm does, and no line sets it"
    return "its input gate is 1 minus its forget gate, and that of the other side is not"


def _refusals(right: Reading, wrong: Reading) -> Iterator[str]:
    """For each layer the sentence why no layer of the framework computes it; empty where one does, or `wrong` does."""
    for k, (ours, theirs) in enumerate(zip(right.network.layers, wrong.network.layers, strict=False)):
        yield beyond(wrong.recipe.framework, k, ours) if _kind(ours) != _kind(theirs) else ""


def _kind(layer: Layer) -> tuple[object, ...]:
    """What a layer computes, and what kinds of weights it has for that."""
    first = layer.directions[0]
    return *layer.formula, first.peephole is None, first.projection is None


def _facts(tensors: Sequence[str], right: Reading, wrong: Reading) -> Iterator[str]:
    """Lines for what is no tensor: the formula, the merge mode, the order of time."""
    wording = WORDINGS[wrong.recipe.framework]
    refusals = list(_refusals(right, wrong))
    for k, (layer, ours) in enumerate(zip(right.network.layers, wrong.network.layers, strict=False)):
        if any(f"layer {k} {fact}" in tensors for fact in ("activation", "formula")):
            yield f"# {refusals[k]}" if refusals[k] else wording.layer(layer, wrong)
        if f"layer {k} merge mode" in tensors:
            yield wording.merge(layer)
        if f"layer {k} order of time" in tensors and not layer.bidirectional:
            yield from wording.order(layer, layer.directions[0].reverse != ours.directions[0].reverse)
