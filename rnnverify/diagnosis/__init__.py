"""Which porting mistake makes two sides differ, and how sure that is.

Mistakes are made in a network that is known, or undone there, until it is what the other side shows:

    both weights known    the tensors of A with the mistake are those of B, bit for bit          certain
    one side a recording  rounding explains every recorded step by the network with the mistake  confirmed
    two recordings        the outputs of A with the mistake are those of B, within the rule      confirmed

A mistake that changes nothing is none, and where nothing fits nothing is named: two networks may simply be different.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rnnverify import reference
from rnnverify.canonical import Network
from rnnverify.diagnosis import by_runs, by_weights, digits
from rnnverify.diagnosis.by_behaviour import Behaviour, shown_weights
from rnnverify.diagnosis.by_outputs import by_outputs
from rnnverify.diagnosis.families import FAMILIES, ROUNDED
from rnnverify.diagnosis.hypothesis import Seen, words
from rnnverify.diagnosis.likeness import LIKENESSES, tensors_of
from rnnverify.diagnosis.search import Chain, Search, Step
from rnnverify.finding import Finding, Proof
from rnnverify.observed import Observed, largest_deviation

_PAIRS, _PAIRS_BY_RUNS = 6_000, 1_000
_FALLS = 30  # times: a suspicion brings the deviation down at least so far
_SMALL = 0.02  # and leaves at most this share of what the states are


def diagnose(baseline: Observed, candidate: Observed) -> tuple[Finding, ...]:
    """What went wrong between two sides that differ; all findings hold together, the first one is the surest.

    The baseline is taken to be right, unless only the candidate being right explains it.
    """
    before = _finite(largest_deviation(baseline.trace, candidate.trace))
    with np.errstate(all="ignore"):  # what a mistake makes may overflow: then it is not the one
        return tuple(_findings(baseline, candidate, before))


def _findings(baseline: Observed, candidate: Observed, before: float | None) -> Iterator[Finding]:
    if baseline.network and candidate.network:
        found = _two_networks(baseline, candidate, before)
        for side in (candidate, baseline):
            found += _how_it_ran(side, side, before)
    elif baseline.network:
        found = _one_network(baseline, candidate, before, known_is_right=True)
    elif candidate.network:
        found = _one_network(candidate, baseline, before, known_is_right=False)
    else:
        found = []
    yield from found or by_outputs(baseline, candidate, before)


def _two_networks(baseline: Observed, candidate: Observed, before: float | None) -> list[Finding]:
    a, b = baseline.network, candidate.network
    assert a is not None and b is not None
    if not by_weights.comparable(a, b):
        return []
    partial: list[Finding] = []
    for right, wrong in ((baseline, candidate), (candidate, baseline)):
        assert right.network is not None and wrong.network is not None
        found, best = _search_weights(right.network, wrong.network)
        if found is not None:
            return _named(found, "certain", wrong.label, before, _after(found.network, wrong))
        partial = partial or _in_part(best, right.network, wrong, before)
    if partial:
        return partial
    tensors = tensors_of(a, b)
    for likeness in LIKENESSES:
        name, advice = words(likeness)
        alike = [
            Finding(name, advice, proof, before, None, where, candidate.label) for where, proof in likeness(tensors)
        ]
        if alike:
            return alike
    return []


def _search_weights(known: Network, other: Network) -> tuple[Chain | None, Chain]:
    if by_weights.equal(known, other):
        return None, Chain((), known, tuple(same for _, same in by_weights.parts(known, other)))
    search = Search(
        changes=[(h, h.make) for family in FAMILIES.values() for h in family],
        seen=Seen(other, (), "float32"),
        parts=lambda network: by_weights.parts(network, other),
        proves=lambda network: by_weights.equal(network, other),
        pairs=_PAIRS,
    )
    found, best = search.from_network(known)
    if found is None and not best.steps:
        close = replace(search, parts=lambda network: by_weights.parts(network, other, close=True))
        found = _with_fewer_digits(close, known)
    return found, best


def _with_fewer_digits(search: Search, known: Network) -> Chain | None:
    """Mistakes made in weights that were rounded besides: `search` takes parts that are close for accounted."""

    def rounded(network: Network) -> tuple[str, Network] | None:
        return next((made for made in digits.rounded(network, search.seen) if search.proves(made[1])), None)

    found, _ = replace(search, proves=lambda network: rounded(network) is not None).from_network(known)
    made = rounded(found.network) if found else None
    if found is None or made is None:
        return None
    return Chain((*found.steps, Step(ROUNDED, made[0])), made[1], found.parts)


def _in_part(best: Chain, known: Network, wrong: Observed, before: float | None) -> list[Finding]:
    """Mistakes that account for tensors bit for bit, where others remain: only those that hold enough numbers count."""
    assert wrong.network is not None
    start = [same for _, same in by_weights.parts(known, wrong.network)]
    rich = by_weights.informative(wrong.network)
    gained = sum(r and b and not a for a, b, r in zip(start, best.parts, rich, strict=True))
    if gained < len(best.steps) or not best.steps:
        return []
    return _named(best, "certain", wrong.label, before, _after(best.network, wrong))


def _one_network(known: Observed, shown: Observed, before: float | None, known_is_right: bool) -> list[Finding]:
    """`shown` is a recording: by what the mistake makes of the network, or by what undoes it."""
    assert known.network is not None
    runs = tuple(shown.trace.runs.values())
    behaviour = Behaviour.of(runs, shown.arithmetic)
    every = [h for family in FAMILIES.values() for h in family]
    make = [(h, h.make) for h in every]
    undo = [(h, h.undo) for h in every if h.undo is not None]
    if behaviour.proves(known.network):
        return []
    first, second = (make, undo) if known_is_right else (undo, make)
    network = known.network
    seen = Seen(None, runs, shown.arithmetic, lambda: shown_weights(network, runs))
    by_steps = behaviour.shows_steps(known.network)
    for changes, label in ((first, shown.label if known_is_right else known.label), (second, "")):
        search = Search(
            changes=changes,
            seen=seen,
            parts=behaviour.parts,
            proves=behaviour.proves,
            pairs=(_PAIRS if by_steps else _PAIRS_BY_RUNS) if label else 0,
            distance=None if by_steps else behaviour.distance,
        )
        found, _ = search.from_network(known.network)
        if found is None and changes is make and by_steps:
            close = replace(search, parts=lambda network: behaviour.parts(network, close=True), pairs=_PAIRS // 4)
            found = _with_fewer_digits(close, known.network)
        if found is not None:
            side = label or (known.label if known_is_right else shown.label)
            return _named(found, "confirmed", side, before, behaviour.deviation(found.network))
        if label:
            ran = _how_it_ran(known, shown, before)
            if ran:
                return ran
    return []


def _how_it_ran(known: Observed, shown: Observed, before: float | None) -> list[Finding]:
    assert known.network is not None
    return by_runs.by_runs(known.network, shown, before)


def _named(chain: Chain, proof: Proof, side: str, before: float | None, after: float | None) -> list[Finding]:
    """One finding for each mistake of the chain; one made in several places is one."""
    places: dict[str, list[str]] = {}
    advice: dict[str, str] = {}
    for step in chain.steps:
        places.setdefault(step.hypothesis.name, []).append(step.where)
        advice[step.hypothesis.name] = step.hypothesis.advice
    return [
        Finding(name, advice[name], proof, before, after, "; ".join(where for where in found if where), side)
        for name, found in places.items()
    ]


def _after(network: Network, wrong: Observed) -> float | None:
    """The deviation between what the mistakes make of the right network, and what the wrong side did."""
    return _finite(largest_deviation(reference.run(network, wrong.trace.batches), wrong.trace))


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
