"""Which mistakes lead from a known network to what the other side shows: one, or several at once.

What the other side shows is in parts (tensors, or the steps of one direction), and a network accounts for some of them.
A mistake that makes a network account for more parts is kept, and the next is looked for from there; two that show only
together are looked for among pairs, both made in just the directions that are not accounted for. Only what `proves`
accepts is found: all weights, or every recorded step.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from rnnverify.canonical import Network
from rnnverify.diagnosis.hypothesis import Change, Hypothesis, Seen

Parts = Callable[[Network], Iterator[tuple[Hashable, bool]]]
"""Each part: what it is called, None for all there is, and whether a network accounts for it."""

_DEPTH = 4  # mistakes at once
_BRANCHES = 4  # of those that account for more, how many are followed


@dataclass(frozen=True)
class Step:
    """One mistake, made in the network before it."""

    hypothesis: Hypothesis
    where: str
    network: Network  # what it made


@dataclass(frozen=True)
class Chain:
    """Mistakes one after the other, and the network that they lead to."""

    steps: tuple[Step, ...]
    network: Network
    parts: tuple[bool, ...]  # what it accounts for


@dataclass(frozen=True)
class Search:
    """What is looked for: `changes` is the same side of every hypothesis, `make` or `undo`."""

    changes: Sequence[tuple[Hypothesis, Change]]
    seen: Seen
    parts: Parts
    proves: Callable[[Network], bool]
    changed: Callable[[Network, Network], set[Hashable]]  # which parts a mistake changed, before and after it
    pairs: int  # how many may be tried at most
    seconds: Sequence[tuple[Hypothesis, Change]] | None = None  # of a pair; None: all
    otherwise: Callable[[], bool] | None = None  # asked before pairs: whether something else explains it all

    def from_network(self, known: Network) -> tuple[Chain | None, Chain]:
        """The shortest chain that is proved, if there is one; and the one that accounts for the most parts."""
        start = Chain((), known, self._accounts(known))
        singles: list[Chain] = []
        for chain in self._steps(start):
            if self._is_proved(chain):
                return chain, chain
            singles.append(chain)
        found, best = self._onwards(start, singles, _DEPTH - 1)
        if found is None and not (self.otherwise and self.otherwise()):
            found = self._in_pairs(start, singles)
        return found, best

    def _accounts(self, network: Network) -> tuple[bool, ...]:
        return tuple(accounted for _, accounted in self.parts(network))

    def _made(self, chain: Chain) -> Iterator[tuple[Step, Network]]:
        for hypothesis, change in self.changes:
            for where, network in change(chain.network, self.seen):
                yield Step(hypothesis, where, network), network

    def _steps(self, chain: Chain) -> Iterator[Chain]:
        """Every single mistake made in the network of `chain`."""
        for step, network in self._made(chain):
            yield Chain((*chain.steps, step), network, self._accounts(network))

    def _is_proved(self, chain: Chain) -> bool:
        return all(chain.parts) and self.proves(chain.network)

    def _onwards(self, start: Chain, singles: Sequence[Chain], depth: int) -> tuple[Chain | None, Chain]:
        """From the mistakes that make the network account for more, and for nothing less."""
        better = [chain for chain in singles if _gains(start.parts, chain.parts)]
        better.sort(key=lambda chain: -sum(chain.parts))  # stable: the order of hypotheses decides between equals
        best = better[0] if better else start
        for chain in better[:_BRANCHES] if depth else []:
            following = list(self._steps(chain))
            found = next((each for each in following if self._is_proved(each)), None)
            if found is None:
                found, further = self._onwards(chain, following, depth - 1)
                best = max(best, further, key=lambda each: sum(each.parts))
            if found:
                return found, best
        return None, best

    def _in_pairs(self, start: Chain, singles: Sequence[Chain]) -> Chain | None:
        """Two mistakes in the same place, which may show only together."""
        if not self.pairs:
            return None
        missing = {part for part, accounted in self.parts(start.network) if not accounted} - {None}

        def is_apt(before: Network, after: Network) -> bool:
            """Whether a mistake changed all that is not accounted for, and nothing else.

            Of two mistakes that do not change the same, one alone accounts for more, and is followed anyway.
            """
            return not missing or self.changed(before, after) == missing

        first = [
            chain for chain in singles if chain.steps[0].hypothesis.in_pairs and is_apt(start.network, chain.network)
        ]
        left = self.pairs
        for chain in first:
            for hypothesis, change in self.changes if self.seconds is None else self.seconds:
                for where, network in change(chain.network, self.seen) if hypothesis.in_pairs else ():
                    if not is_apt(chain.network, network):
                        continue
                    left -= 1
                    if all(accounted for _, accounted in self.parts(network)) and self.proves(network):
                        steps = (*chain.steps, Step(hypothesis, where, network))
                        return Chain(steps, network, self._accounts(network))
            if left <= 0:
                return None
        return None


def _gains(before: tuple[bool, ...], after: tuple[bool, ...]) -> bool:
    return sum(after) > sum(before) and all(a or not b for a, b in zip(after, before, strict=True))
