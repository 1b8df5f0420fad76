"""Sides to diagnose: a right network, and what a mistake makes of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import engines
from networks import batches, bidirectional, single, stacked

from rnnverify import reference
from rnnverify.canonical import Direction, Network
from rnnverify.diagnosis import diagnose
from rnnverify.finding import Finding
from rnnverify.mistakes import each
from rnnverify.observed import Observed
from rnnverify.trace import Batch, Run, Trace

NETWORKS = {
    "single": single(5, 8),
    "square": single(8, 8, seed=1),
    "relu": single(5, 8, activation="relu", seed=2),
    "both ways": bidirectional(5, 6, seed=3),
    "summed": bidirectional(6, 6, seed=4, merge="sum"),
    "stacked": stacked(6, [6, 6], seed=5),
}


def model(label: str, network: Network, given: Sequence[Batch]) -> Observed:
    """A side that a correct engine ran in float32."""
    return Observed(label, network, engines.run(network, given, "split"), reference.run(network, given))


def recorded(label: str, network: Network, given: Sequence[Batch], states: bool = True) -> Observed:
    """The same, known by its trace only."""
    runs = engines.run(network, given, "fused").runs
    return Observed(label, None, Trace({n: r if states else replace(r, states=()) for n, r in runs.items()}), None)


def remade(label: str, network: Network, given: Sequence[Batch], change: Callable[[Run], Run]) -> Observed:
    """A trace that something was done to."""
    side = recorded(label, network, given)
    return replace(side, trace=Trace({name: change(run) for name, run in side.trace.runs.items()}))


def files(right: Network, wrong: Network) -> tuple[Finding, ...]:
    given = batches(right, 4, 9)
    return diagnose(model("A", right, given), model("B", wrong, given))


def port(right: Network, wrong: Network, states: bool = True) -> tuple[Finding, ...]:
    """The wrong side is a recording."""
    given = batches(right, 4, 9)
    return diagnose(model("A", right, given), recorded("B", wrong, given, states))


def original(right: Network, wrong: Network) -> tuple[Finding, ...]:
    """The right side is a recording."""
    given = batches(right, 4, 9)
    return diagnose(recorded("A", right, given), model("B", wrong, given))


def in_direction(network: Network, k: int, j: int, change: Callable[[Direction], Direction]) -> Network:
    """`change` in one direction of one layer."""
    target = network.layers[k].directions[j]
    return each(network, lambda d: change(d) if d is target else d)


def names(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.name for finding in findings]
