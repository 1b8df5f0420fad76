"""From which step on rounding alone parts two correct implementations: stochastic arithmetic.

Some trajectories are run in float64, each disturbed at random as much as rounding disturbs a step; where they lie apart
by more than a limit, so do correct implementations. A heuristic (Vignes' CESTAC, Parker's Monte Carlo arithmetic), and
only ever an explanation: the verdict rests on single steps.
"""

from __future__ import annotations

import numpy as np

from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.cells import State, recurrence
from rnnverify.cells.recurrence import side_by_side
from rnnverify.precision import UNIT_ROUNDOFF
from rnnverify.reference import initial_states, merge
from rnnverify.trace import Batch

_TRAJECTORIES = 8


def expected_parting(network: Network, batch: Batch, sequence: int, steps: int, dtype: str, limit: float) -> int | None:
    """The first of `steps` at which disturbed runs of one sequence lie further apart than `limit`."""
    rng = np.random.default_rng(0)
    u = UNIT_ROUNDOFF[dtype]
    x = np.repeat(batch.x[sequence : sequence + 1, :steps].astype(np.float64), _TRAJECTORIES + 1, axis=0)
    row = batch.of(slice(sequence, sequence + 1))
    starts = initial_states(network, row)
    with np.errstate(over="ignore", invalid="ignore"):
        for layer in network.layers:
            parts = [_disturbed(layer, d, x, next(starts), u, rng) for d in layer.directions]
            x = parts[0] if len(parts) == 1 else np.asarray(merge(layer.merge, parts))
        apart = np.sqrt(np.mean((x[1:] - x[:1]) ** 2, axis=0)).max(axis=1)  # (T,)
    beyond = ~(apart <= limit)
    return int(np.argmax(beyond)) if beyond.any() else None


def _disturbed(layer: Layer, direction: Direction, x: Array, first: State, u: float, rng: np.random.Generator) -> Array:
    """The states (K+1, T, P) for x (K+1, T, I), as emitted; row 0 is left as it is."""
    formula = recurrence(layer, direction)
    W, U, b = (side_by_side(w) for w in (direction.kernel, direction.recurrent_kernel, direction.bias_magnitude))
    seen = x[:, ::-1] if direction.reverse else x
    out = np.zeros((*x.shape[:2], direction.state_size))
    written = out[:, ::-1] if direction.reverse and layer.time_restored else out
    state: State = tuple(np.repeat(each, len(x), axis=0) for each in first)
    terms = len(W) + len(U) + 2
    for t in range(x.shape[1]):
        projected, h = formula.project(seen[:, t]), state[0]
        z = projected[:1] + h[:1] @ U
        squares = seen[:1, t] ** 2 @ W**2 + h[:1] ** 2 @ U**2 + b**2
        spread = u * np.sqrt((squares * (1 + terms / 2) + terms * z**2 / 3) / 3)  # of sums in a random order
        noise = rng.standard_normal(projected.shape) * spread
        noise[0] = 0
        state = formula.step(projected + noise, state)
        for each in state:
            each[1:] += u * np.abs(each[1:]) * rng.choice([-1.0, 1.0], each[1:].shape)
        written[:, t] = state[0]
    return out
