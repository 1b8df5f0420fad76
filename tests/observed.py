"""Sides as the judge sees them, computed or changed by hand."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from networks import batches, computed, edited, single

from rnnverify import reference
from rnnverify.adequacy import Examiner
from rnnverify.canonical import Array, Network
from rnnverify.comparison import Pair
from rnnverify.deviation import Tolerance
from rnnverify.judge import judge
from rnnverify.observed import Observed
from rnnverify.trace import ZERO, Batch

EXACT = Tolerance()
NETWORK = single(3, 4)
BATCHES = batches(NETWORK)


def model(label: str, network: Network, given_batches: Sequence[Batch] = BATCHES, dtype: str = "float32") -> Observed:
    """A side that its framework computed correctly."""
    return Observed(label, network, computed(network, given_batches, dtype), reference.run(network, given_batches))


def recorded(label: str, network: Network, given_batches: Sequence[Batch] = BATCHES) -> Observed:
    return Observed(label, None, computed(network, given_batches), None)


def with_states(side: Observed, change: Callable[[Array], Array], name: str = ZERO) -> Observed:
    """`side` with other outputs in one run."""
    run = side.trace.runs[name]
    changed = replace(run, y=change(run.y.copy()))
    return replace(side, trace=replace(side.trace, runs={**side.trace.runs, name: changed}))


def shifted(by: float, at: tuple[int, int, int] = (1, 2, 3)) -> Callable[[Array], Array]:
    def change(y: Array) -> Array:
        y[at] += np.float32(by)
        return y

    return change


def against(candidate: Observed, tolerance: Tolerance = EXACT, baseline: Observed | None = None) -> Pair:
    return judge(baseline or model("A", NETWORK), candidate, Examiner(BATCHES), tolerance)


def nudged(by: float) -> Network:
    kernel = NETWORK.layers[0].directions[0].kernel.copy()
    kernel[0, 1, 2] += np.float32(by)
    return edited(NETWORK, kernel=kernel)
