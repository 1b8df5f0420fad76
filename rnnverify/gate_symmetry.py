"""The units of a gated cell in another order, or with their signs flipped: what `symmetry` does for the vanilla cell.

A unit whose h and c are negated reads and writes with the other sign: of the candidate the whole column is negated, of
the gates only what they read of h and c. Nothing else is free, as gates are neither odd nor homogeneous. A projected
LSTM shows its units only through the projection, which is not looked into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnverify.canonical import GATES, Array, CellKind, Direction, Layer

_CANDIDATE: dict[CellKind, int] = {"gru": GATES["gru"].index("n"), "lstm": GATES["lstm"].index("g")}


def turned(cell: CellKind, d: Direction, order: Sequence[int], factors: Sequence[float]) -> Direction:
    """`d` with its unit `order[j]`, times `factors[j]` (1 or -1), as unit j."""
    signs = np.asarray(factors).astype(d.kernel.dtype)
    flips = np.ones((len(d.kernel), d.hidden_size), d.kernel.dtype)
    flips[_CANDIDATE[cell]] = signs
    chosen = list(order)
    return replace(
        d,
        kernel=d.kernel[:, :, chosen] * flips[:, None],
        recurrent_kernel=d.recurrent_kernel[:, chosen][:, :, chosen] * signs[:, None] * flips[:, None],
        bias_input=d.bias_input[:, chosen] * flips,
        bias_recurrent=d.bias_recurrent[:, chosen] * flips,
        peephole=None if d.peephole is None else d.peephole[:, chosen] * signs,
    )


def matched(layer: Layer, a: Direction, b: Direction, odd: bool) -> tuple[list[int], list[float]] | None:
    """For each unit of `b` the nearest of `a`, and its sign; None where two units have the same nearest.

    Input kernels and biases decide. `odd` says whether the activations of `layer` let signs pass.
    """
    if a.projection is not None or b.projection is not None:
        return None
    ours, theirs = (_features(layer.cell, d) for d in (a, b))
    signed = [np.concatenate([gates, np.abs(candidate) if odd else candidate]) for gates, candidate in (ours, theirs)]
    one, other = signed
    distance = (one * one).sum(axis=0)[:, None] - 2 * one.T @ other  # (H, H); the term of b alone changes nothing
    order = [int(j) for j in np.argmin(distance, axis=0)]
    if sorted(order) != list(range(len(order))):
        return None
    agreement = (ours[1][:, order] * theirs[1]).sum(axis=0)
    return order, [-1.0 if odd and value < 0 else 1.0 for value in agreement]


def _features(cell: CellKind, d: Direction) -> tuple[Array, Array]:
    """What tells units apart, (features, H): of the gates, and of the candidate, whose sign goes with the unit."""
    k = _CANDIDATE[cell]
    columns = np.concatenate([d.kernel.astype(np.float64), d.bias_input[:, None], d.bias_recurrent[:, None]], axis=1)
    return np.concatenate([*columns[:k], *columns[k + 1 :]]), columns[k]
