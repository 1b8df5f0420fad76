"""Which mistakes lead from a known network to recorded outputs, where no states of its lower layers were recorded.

A mistake anywhere changes every output, so nothing tells one by one what is right. Instead many networks are run side
by side on a few sequences: every mistake, then every second one after each, the most promising first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rnnverify import mistakes, symmetry
from rnnverify.canonical import Array, Network
from rnnverify.deviation import UNIT
from rnnverify.diagnosis import digits
from rnnverify.diagnosis.by_behaviour import Behaviour, part
from rnnverify.diagnosis.families import ROUNDED, SHUFFLED, UNITS
from rnnverify.diagnosis.hypothesis import Change, Hypothesis, Seen
from rnnverify.diagnosis.order import top_units_by_outputs
from rnnverify.diagnosis.peeled import peeled
from rnnverify.diagnosis.search import Chain, Step
from rnnverify.diagnosis.shown import shown_weights
from rnnverify.diagnosis.together import outputs
from rnnverify.trace import PROBE, Run

_PAIRS = 20_000  # of mistakes at once, tried at most
_LARGE, _LONG = 2**14, 64  # weights, steps: beyond these fewer are tried
_GATED = 4  # times as long takes a network with gates
_STEPS = 6  # enough where no direction begins at the last
_ROUNDED = 0.05  # of the standard deviation of the outputs: what rounding the weights may change at most
_PROBES = 16  # one-step runs that are looked at before longer ones
_NEAR = 8  # networks that are tried with fewer digits, or rows in another order


@dataclass(frozen=True)
class Made:
    """The network that the n-th form of a mistake makes of another."""

    change: int
    n: int
    step: Step
    network: Network


@dataclass(frozen=True)
class OutputSearch:
    """What is looked for: `changes` is the same side of every hypothesis, `make` or `undo`."""

    changes: Sequence[tuple[Hypothesis, Change]]
    behaviour: Behaviour
    pairs: bool  # whether two mistakes at once are looked for
    otherwise: Callable[[], bool] | None = None  # asked before that: whether something else explains it all

    def from_network(self, known: Network) -> Chain | None:
        """The shortest chain that gives the recorded outputs, if there is one."""
        every = self._made(known, self.changes)
        singles = [made for made in every if not mistakes.same(made.network, known)]
        networks = [known, *(made.network for made in singles)]
        measured = self._measured(networks)
        found = self._proved((), singles, measured[1:]) or self._with_other_units(networks, [None, *singles])
        if found is None and any(hypothesis is ROUNDED for hypothesis, _ in self.changes):
            found = self._rounded(known, singles, measured)
        if found or (self.otherwise and self.otherwise()) or not self.pairs:
            return found
        return self._in_pairs(known, singles, measured[1:])

    def _made(self, network: Network, changes: Sequence[tuple[Hypothesis, Change]]) -> Iterator[Made]:
        seen = self._seen(network)
        for k, (hypothesis, change) in enumerate(changes):
            if hypothesis is not UNITS:  # outputs tell the units of the top layer without a search
                for n, (where, made) in enumerate(change(network, seen)):
                    yield Made(k, n, Step(hypothesis, where, made), made)

    def _seen(self, network: Network) -> Seen:
        """What the outputs show to `network`, whose upper layers are taken to be right."""
        runs = self.behaviour.runs
        return Seen(None, runs, self.behaviour.dtype, lambda made: shown_weights(made, peeled(network, runs)))

    def _measured(self, networks: Sequence[Network], in_turn: bool = False) -> list[Measured]:
        """How near each comes; with `in_turn` those that a first run shows to be wrong are looked at no further."""
        found: list[Measured] = [Measured(np.inf, False)] * len(networks)
        for steps, some in _by_length(networks):
            runs = few(self.behaviour.runs, steps, probes=in_turn)
            near = measure([networks[k] for k in some], runs, UNIT[self.behaviour.dtype], in_turn)
            for k, each in zip(some, near, strict=True):
                found[k] = each
        return found

    def _proved(self, before: tuple[Step, ...], made: Sequence[Made], measured: Sequence[Measured]) -> Chain | None:
        """The first of `made` that gives the outputs."""
        for each, near in zip(made, measured, strict=True):
            if near.close and self.behaviour.proves(each.network):
                return Chain((*before, each.step), each.network, (True,))
        return None

    def _with_other_units(self, networks: Sequence[Network], made: Sequence[Made | None]) -> Chain | None:
        """The first network that gives the outputs after the units of its top layer are brought into another order."""
        for steps, some in _by_length(networks):
            runs = [run for run in few(self.behaviour.runs, steps) if run.batch.h0 is None]  # those are not turned
            for k, same in zip(
                some, same_sizes([networks[k] for k in some], runs, UNIT[self.behaviour.dtype]), strict=True
            ):
                first = made[k]
                found = self._with_units(networks[k], (first.step,) if first else ()) if same else None
                if found:
                    return found
        return None

    def _with_units(self, network: Network, before: tuple[Step, ...]) -> Chain | None:
        found = top_units_by_outputs(network, self.behaviour.runs)
        if found is None or found.is_trivial:
            return None
        turned = symmetry.applied(network, found)
        proved = self.behaviour.proves(turned)
        return Chain((*before, Step(UNITS, str(found), turned)), turned, (True,)) if proved else None

    def _rounded(self, known: Network, singles: Sequence[Made], measured: Sequence[Measured]) -> Chain | None:
        """Mistakes made in weights that were rounded besides, before or after: they come near, and no nearer."""
        reach = _ROUNDED * self.behaviour.spread
        near = sorted((each.distance, k) for k, each in enumerate(measured) if each.distance <= reach)
        rounded = None
        for _, k in near[:_NEAR]:
            made = singles[k - 1] if k else None
            if made is None or made.step.hypothesis is ROUNDED:
                continue
            rounded = rounded or list(digits.rounded(known, self._seen(known)))
            after = list(digits.rounded(made.network, self._seen(known)))
            first = [(where, again) for where, network in rounded if (again := self._again(made, network)) is not None]
            measured_here = self._measured([network for _, network in (*after, *first)])
            for (where, network), each in zip((*after, *first), measured_here, strict=True):
                if each.close and self.behaviour.proves(network):
                    return Chain((made.step, Step(ROUNDED, where, network)), network, (True,))
        return None

    def _again(self, made: Made, network: Network) -> Network | None:
        """The same form of the same mistake in another network."""
        change = self.changes[made.change][1]
        return next((other for n, (_, other) in enumerate(change(network, self._seen(network))) if n == made.n), None)

    def _in_pairs(self, known: Network, singles: Sequence[Made], measured: Sequence[Measured]) -> Chain | None:
        shown = self._seen(known).likely(known) is not None
        shuffled = [shown and made.step.hypothesis in SHUFFLED for made in singles]
        order = sorted(range(len(singles)), key=lambda k: (not shuffled[k], measured[k].distance))
        left = _most_pairs(known, self.behaviour.runs)
        pairable = [(h, change) for h, change in self.changes if h.in_pairs and h not in SHUFFLED]
        shuffling = [(h, change) for h, change in self.changes if h in SHUFFLED]
        places = {id(h): k for k, (h, _) in enumerate(pairable)}
        for forward in (True, False):  # most mistakes can be made in either order: each pair once, then once more
            for n, k in enumerate(order):
                first = singles[k]
                at = places.get(id(first.step.hypothesis), 0)
                changes = [*pairable[at:], *shuffling[: 2 * (n < _NEAR)]] if forward else pairable[:at]
                seconds = list(self._made(first.network, changes))
                left -= len(seconds)
                if seconds:
                    near = self._measured([made.network for made in seconds], in_turn=True)
                    found = self._proved((first.step,), seconds, near)
                    if found:
                        return found
                if left <= 0:
                    return None
        return None


@dataclass(frozen=True)
class Measured:
    """The outputs of a network beside the recorded ones, on a few sequences."""

    distance: float  # of all outputs, at the mean
    close: bool  # none is beyond the rule


def measure(networks: Sequence[Network], runs: Sequence[Run], unit: float, in_turn: bool) -> list[Measured]:
    """How near the outputs of `networks` come, of the top layer's each after the one recorded before it."""
    distance = np.zeros(len(networks))
    close = np.ones(len(networks), bool)
    for run in runs:
        some = np.nonzero(close)[0] if in_turn else np.arange(len(networks))
        if len(some):
            off = np.abs(outputs([networks[int(k)] for k in some], run.batch, run.y) - run.y)
            distance[some] += np.nan_to_num(np.minimum(off, 1e3).mean(axis=(1, 2, 3)), nan=1e3)
            close[some] &= (off <= unit * _size(run)).all(axis=(1, 2, 3))
    return [Measured(float(d), bool(c)) for d, c in zip(distance, close, strict=True)]


def same_sizes(networks: Sequence[Network], runs: Sequence[Run], unit: float) -> Array:
    """Which networks have the recorded outputs but for their order and signs (C,), as far as sorted sizes tell."""
    same = np.full(len(networks), bool(runs))
    for run in runs[:1]:
        ways = 2 if networks[0].output_size == 2 * networks[0].layers[-1].hidden_size else 1
        off = np.abs(_sorted(outputs(networks, run.batch), ways) - _sorted(run.y, ways))
        same &= (off <= unit * _size(run)).all(axis=(1, 2, 3))
    return same


def few(runs: Sequence[Run], steps: slice, probes: bool = False) -> list[Run]:
    """A sequence of each run, two where there is one run only; before them a few probes, where they are asked for."""
    chosen = [run for run in runs if run.batch.name != PROBE]
    found = [part(run, slice(k, k + 1), steps) for run in chosen for k in range(2 if len(chosen) == 1 else 1)]
    first = [part(run, slice(0, None, max(1, len(run.y) // _PROBES)), steps) for run in runs if run.batch.name == PROBE]
    return [*first, *found] if probes else found


def _most_pairs(network: Network, runs: Sequence[Run]) -> int:
    """How many are tried: fewer where each takes longer."""
    size = sum(tensor.size for _, tensor in network.tensors())
    T = max(run.y.shape[1] for run in runs) if any(d.reverse for _, _, d in network.directions()) else _STEPS
    slow = any(layer.cell != "rnn" for layer in network.layers)
    return int(_PAIRS * min(1.0, _LARGE / size) * min(1.0, _LONG / T) / (_GATED if slow else 1))


def _by_length(networks: Sequence[Network]) -> Iterator[tuple[slice, list[int]]]:
    """The networks that have to run all steps, and those for which a few do: no direction begins at the last."""
    whole = [any(d.reverse for _, _, d in network.directions()) for network in networks]
    for way in (False, True):
        some = [k for k, each in enumerate(whole) if each is way]
        if some:
            yield slice(None if way else _STEPS), some


def _size(run: Run) -> float:
    return max(1.0, float(np.max(np.abs(run.y))))


def _sorted(y: Array, ways: int) -> Array:
    """The absolute values of each direction's units (..., F), sorted."""
    sizes = np.abs(y).reshape(*y.shape[:-1], ways, -1)
    return np.sort(sizes, axis=-1).reshape(y.shape)
