"""Which porting mistake makes two sides differ, and how sure that is.

Mistakes are made in a network that is known, or undone there, until it is what the other side shows:

    both weights known    the tensors of A with the mistake are those of B, bit for bit          certain
    one side a recording  rounding explains every recorded step by the network with the mistake  confirmed
    two recordings        the outputs of A with the mistake are those of B, within the rule      confirmed

A mistake that changes nothing is none, and where nothing fits nothing is named: two networks may simply be different.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np

from rnnverify import reference
from rnnverify.canonical import Network
from rnnverify.diagnosis import by_behaviour, by_runs, by_weights, digits, masks
from rnnverify.diagnosis.by_behaviour import Behaviour, finite_part
from rnnverify.diagnosis.by_outputs import by_outputs
from rnnverify.diagnosis.families import FAMILIES, LAST_RESORT, ROUNDED
from rnnverify.diagnosis.hypothesis import Hypothesis, Seen, advice_for, touched
from rnnverify.diagnosis.likeness import LIKENESSES, ONE_SIDED, alike, unrelated
from rnnverify.diagnosis.search import Chain, Search, Step
from rnnverify.diagnosis.search_outputs import OutputSearch
from rnnverify.diagnosis.shown import shown_weights
from rnnverify.finding import Finding, Proof
from rnnverify.observed import Observed, largest_deviation

_PAIRS = 6_000  # of mistakes at once, tried at most
_LARGE = 2**17  # weights
_GATED = 4  # times as long takes a step of gates
_FALLS = 30  # times: a suspicion brings the deviation down at least so far
_SMALL = 0.05  # and leaves at most this share of the standard deviation of the outputs


def diagnose(baseline: Observed, candidate: Observed) -> tuple[Finding, ...]:
    """What went wrong between two sides that differ; all findings hold together, the first one is the surest.

    The baseline is taken to be right, unless only the candidate being right explains it.
    """
    before = _finite(largest_deviation(baseline.trace, candidate.trace))
    frameworks = {side.label: side.framework for side in (baseline, candidate)}
    with np.errstate(all="ignore"):  # what a mistake makes may overflow: then it is not the one
        found = list(_findings(baseline, candidate, before))
    return tuple(replace(each, advice=advice_for(frameworks[each.side], each.advice)) for each in found)


def strangers(baseline: Observed, candidate: Observed) -> str:
    """A sentence where nothing was found between two networks, and their weights have nothing in common; else empty."""
    a, b = baseline.network, candidate.network
    return unrelated(a, b) if a and b and by_weights.comparable(a, b) else ""


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
            return _named(right.network, found, "certain", wrong.label, before, _after(found.network, wrong))
        partial = partial or _in_part(best, right.network, wrong, before)
    if partial:
        return partial
    return alike(a, b, candidate.label, LIKENESSES, before) or alike(b, a, baseline.label, ONE_SIDED, before)


def _search_weights(known: Network, other: Network) -> tuple[Chain | None, Chain]:
    if by_weights.equal(known, other):
        return None, Chain((), known, tuple(same for _, same in by_weights.parts(known, other)))
    search = Search(
        changes=[(h, h.make) for family in FAMILIES.values() for h in family],
        seen=Seen(other, (), "float32"),
        parts=lambda network: by_weights.parts(network, other),
        proves=lambda network: by_weights.equal(network, other),
        changed=by_weights.changed,
        pairs=_pairs(known) if by_weights.share_numbers(known, other) else 0,
    )
    found, best = search.from_network(known)
    if found is None and not best.steps and by_weights.nearly_share_numbers(known, other):
        close = replace(
            search, parts=lambda network: by_weights.parts(network, other, close=True), pairs=_pairs(known) // 4
        )
        found = _with_fewer_digits(close, known)
    return found, best


def _pairs(network: Network, of_steps: bool = False) -> int:
    """How many pairs of mistakes are tried at most: fewer in large networks, or on steps of gates: each costs more."""
    size = sum(tensor.size for _, tensor in network.tensors())
    slow = of_steps and any(layer.cell != "rnn" for layer in network.layers)
    return int(_PAIRS * min(1.0, _LARGE / size) / (_GATED if slow else 1))


def _with_fewer_digits(search: Search, known: Network) -> Chain | None:
    """Mistakes made in weights that were rounded besides: `search` takes parts that are close for accounted."""

    def rounded(network: Network) -> tuple[str, Network] | None:
        return next((made for made in digits.rounded(network, search.seen) if search.proves(made[1])), None)

    found, _ = replace(search, proves=lambda network: rounded(network) is not None).from_network(known)
    made = rounded(found.network) if found else None
    if found is None or made is None:
        return None
    return Chain((*found.steps, Step(ROUNDED, *made)), made[1], found.parts)


def _in_part(best: Chain, known: Network, wrong: Observed, before: float | None) -> list[Finding]:
    """Mistakes that account for tensors bit for bit, where others remain: only those that hold enough numbers count."""
    assert wrong.network is not None
    start = [same for _, same in by_weights.parts(known, wrong.network)]
    rich = by_weights.informative(wrong.network, known)
    gained = sum(r and b and not a for a, b, r in zip(start, best.parts, rich, strict=True))
    if gained < len(best.steps) or not best.steps:
        return []
    return _named(known, best, "certain", wrong.label, before, _after(best.network, wrong))


def _one_network(known: Observed, shown: Observed, before: float | None, known_is_right: bool) -> list[Finding]:
    """`shown` is a recording: by what the mistake makes of the network, or by what undoes it."""
    assert known.network is not None
    masked = masks.by_masks(known.network, shown, before)  # explains all that was recorded, or nothing
    if masked:
        return masked
    runs = [run for each in shown.trace.runs.values() if (run := finite_part(known.network, each)) is not None]
    behaviour = Behaviour.of(runs, shown.arithmetic)
    if not runs or behaviour.proves(known.network):
        return []
    every = [h for family in FAMILIES.values() for h in family]
    wrong, right = (shown.label, known.label) if known_is_right else (known.label, shown.label)
    pairs_tried = _pairs(known.network, of_steps=True)
    attempts = [(not known_is_right, wrong, every, pairs_tried), (known_is_right, right, every, 0)]
    if behaviour.shows_steps(known.network):
        gated = any(layer.cell != "rnn" for layer in known.network.layers)  # whose biases take long to fit
        last = ([*LAST_RESORT], 0) if gated else ([*every, *LAST_RESORT], pairs_tried)
        attempts.append((not known_is_right, wrong, *last))

    @cache
    def ran() -> tuple[Finding, ...]:
        return tuple(_how_it_ran(known, shown, before))

    for k, (undone, side, hypotheses, pairs) in enumerate(attempts):
        found = _search_steps(known.network, behaviour, hypotheses, undone, pairs, None if k else lambda: bool(ran()))
        if found is not None:
            return _named(known.network, found, "confirmed", side, before, behaviour.deviation(found.network))
        if ran():
            return list(ran())
    return _suspected(known.network, behaviour, every, not known_is_right, wrong)


def _suspected(
    known: Network, behaviour: Behaviour, hypotheses: Sequence[Hypothesis], undone: bool, side: str
) -> list[Finding]:
    """The one mistake that brings the outputs much nearer, where none explains them."""
    before = behaviour.deviation(known)
    if before is None or behaviour.spread <= 0:
        return []
    seen = Seen(None, behaviour.runs, behaviour.dtype, lambda network: shown_weights(network, behaviour.runs))
    changes = [(h, change) for h in hypotheses if (change := h.undo if undone else h.make) is not None and h.in_pairs]
    made = [(h, *each) for h, change in changes for each in islice(change(known, seen), 1)]  # everywhere it can be
    near = [(behaviour.distance(network), k) for k, (_, _, network) in enumerate(made)]
    best = min((each for each in near if np.isfinite(each[0])), default=None)
    if best is None:
        return []
    hypothesis, where, network = made[best[1]]
    after = behaviour.deviation(network)
    if after is None or after * _FALLS > before or after > _SMALL * behaviour.spread:
        return []
    return [Finding(hypothesis.name, hypothesis.advice, "suspected", before, after, where, side)]


def _search_steps(
    known: Network,
    behaviour: Behaviour,
    hypotheses: Sequence[Hypothesis],
    undone: bool,
    pairs: int,
    otherwise: Callable[[], bool] | None,
) -> Chain | None:
    """The mistakes that lead from `known` to what was recorded, or, where they are `undone`, led away from it."""
    changes = [(h, change) for h in hypotheses if (change := h.undo if undone else h.make) is not None]
    if not behaviour.shows_steps(known):
        return OutputSearch(changes, behaviour, pairs > 0, otherwise).from_network(known)
    seen = Seen(None, behaviour.runs, behaviour.dtype, lambda network: shown_weights(network, behaviour.runs))
    search = Search(
        changes=changes,
        seen=seen,
        parts=behaviour.parts,
        proves=behaviour.proves,
        changed=by_behaviour.changed,
        pairs=pairs,
        seconds=[each for each in changes if each[0] in LAST_RESORT] or None,
        otherwise=otherwise,
    )
    found, _ = search.from_network(known)
    if found is None and not undone and pairs and not (otherwise and otherwise()):
        parts = lambda network: behaviour.parts(network, close=True)  # noqa: E731
        close = replace(search, parts=parts, pairs=pairs // 4, otherwise=None)
        found = _with_fewer_digits(close, known)
    return found


def _how_it_ran(known: Observed, shown: Observed, before: float | None) -> list[Finding]:
    assert known.network is not None
    return masks.by_masks(known.network, shown, before) or by_runs.by_runs(known.network, shown, before)


def _named(
    known: Network, chain: Chain, proof: Proof, side: str, before: float | None, after: float | None
) -> list[Finding]:
    """One finding for each mistake of a chain from `known`; one made in several places is one."""
    found: dict[str, Finding] = {}
    for last, step in zip((known, *(step.network for step in chain.steps)), chain.steps, strict=False):
        name, advice = step.hypothesis.name, step.hypothesis.advice
        tensors = () if step.hypothesis is ROUNDED else tuple(touched(last, step.network))
        one = found.get(name, Finding(name, advice, proof, before, after, "", side))
        where = "; ".join(text for text in (one.where, step.where) if text)
        found[name] = replace(one, where=where, tensors=tuple(dict.fromkeys((*one.tensors, *tensors))))
    return list(found.values())


def _after(network: Network, wrong: Observed) -> float | None:
    """The deviation between what the mistakes make of the right network, and what the wrong side did."""
    return _finite(largest_deviation(reference.run(network, wrong.trace.batches), wrong.trace))


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
