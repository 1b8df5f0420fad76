"""What recorded steps show of weights that are in no file: the pre-activation is linear in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rnnverify.canonical import Array, Direction, Network
from rnnverify.diagnosis.by_behaviour import Terms, steps_at
from rnnverify.diagnosis.hypothesis import placed, side_by_side
from rnnverify.trace import Run


def shown_weights(network: Network, runs: Sequence[Run]) -> Network | None:
    """`network` with the weights that recorded steps show, to a few digits.

    None where steps were not recorded, too few were, or the activation cannot be turned back.
    """
    places = list(side_by_side(network, network))
    if any(layer.cell != "rnn" for layer in network.layers):
        return None  # gates hide each other: no state can be turned back
    steps = [_many_steps(network, run) for run in runs]
    turnable = all(layer.activation in INVERSES for layer in network.layers)
    if not steps or not turnable or any(s is None for s in steps):
        return None
    found = network
    for n, (place, d, _) in enumerate(places):
        terms = np.concatenate([each[n][0] for each in steps if each is not None])
        h = np.concatenate([each[n][1] for each in steps if each is not None])
        if terms.shape[1] != d.input_size + d.hidden_size or h.shape[1] != d.hidden_size:
            return None
        solved = _solved(terms, turned_back(network.layers[place[0]].activation, h))
        if solved is None:
            return None
        I, bias = d.input_size, solved[-1:]
        weights = Direction(solved[None, :I], solved[None, I:-1], bias, 0 * bias, d.reverse, d.has_bias)
        found = placed(found, place, weights)
    return found


INVERSES: dict[str, Callable[[Array], Array]] = {
    "tanh": np.arctanh,
    "sigmoid": lambda h: np.log(h / (1 - h)),
    "relu": lambda h: np.where(h > 0, h, np.nan),
    "linear": lambda h: h,
}


def turned_back(activation: str, h: Array) -> Array:
    """The pre-activation of states h (n, H); NaN where it cannot be told well."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = INVERSES[activation](h)
    bounded = activation in ("tanh", "sigmoid")
    return np.where(np.isfinite(z) & (not bounded or (np.abs(h) < 0.99)), z, np.nan)


def _many_steps(network: Network, run: Run) -> list[Terms] | None:
    B, T = run.batch.x.shape[:2]
    picked = np.linspace(0, B * T - 1, min(B * T, 1200)).astype(int)
    return steps_at(network, run, *np.unravel_index(picked, (B, T)))


def _solved(terms: Array, z: Array) -> Array | None:
    """Kernel, recurrent kernel and bias (I+H+1, H) by least squares; NaN for units of which too few steps tell."""
    A = np.concatenate([terms, np.ones((len(terms), 1))], axis=1)
    told = np.isfinite(A).all(axis=1)
    A, z = A[told], z[told]
    known = np.isfinite(z)
    whole = known.all(axis=1)
    if whole.sum() >= 2 * A.shape[1]:
        return _least_squares(A[whole], z[whole])
    if z.shape[1] > 64:  # a problem for each unit: slow
        return None
    found = np.full((A.shape[1], z.shape[1]), np.nan)
    for j, some in enumerate(known.T):
        column = _least_squares(A[some], z[some, j]) if some.sum() > A.shape[1] else None
        if column is not None:
            found[:, j] = column
    return found


def _least_squares(A: Array, z: Array) -> Array | None:
    """By the normal equations: quick, and a few digits are enough here."""
    size = np.sqrt((A * A).sum(axis=0))
    if not size.all():
        return None
    scaled = A / size
    try:
        solved = np.linalg.solve(scaled.T @ scaled, scaled.T @ z)
    except np.linalg.LinAlgError:
        return None
    return np.asarray((solved.T / size).T)
