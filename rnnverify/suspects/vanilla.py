"""The vanilla cell: a regression of the residuals of its steps.

Every recorded state is one step of a row (x_t, h_{t-1}). Undo the activation: if the weights were those of `network`,
what is left, act^-1(h_t) - z_t, is rounding; if one weight is off by d, it is d times the input of that weight. For
each unit and each feature f of [x, h, 1], with the rounding's variance v_t as weights,

    estimate = sum(f y / v) / sum(f f / v)          score = sum(f y / v) / sqrt(sum(f f / v) mean(y y / v))

A weight is suspected where score > 8 and |estimate| > 4 sum(|f| / sqrt(v)) / sum(f f / v), what rounding four times the
usual would give if all of it went one way, and > u max|w| of its unit: rounding is slightly systematic, so scores alone
come up on correct runs, and estimates alone do on short ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rnnverify.activations import activation as activation_of
from rnnverify.activations import slope as slope_of
from rnnverify.canonical import Array
from rnnverify.precision import UNIT_ROUNDOFF
from rnnverify.recorded import Steps
from rnnverify.step import activation_error
from rnnverify.suspects.suspect import FEW, SCORE, Suspect

_USUAL = 4.0
_ELEMENTS = 2**21  # of the rows of one direction; long runs are thinned out
_LEFT = 100.0  # times the usual variance, at most, of what the suspects of a unit leave: else something else is wrong
_LEAST_SLOPE = 0.02  # of states that count: flatter ones are saturated


@dataclass(frozen=True)
class _Rows:
    """Steps of one direction from all runs: features [x, h, 1] and the state that came of them."""

    steps: Steps
    features: Array  # (N, I+H+1)
    h: Array  # (N, H)


def _rows(group: Sequence[Steps]) -> _Rows:
    thinned = [_thinned(steps, _ELEMENTS // len(group)) for steps in group]
    features, states = (np.concatenate(part) for part in zip(*thinned, strict=True))
    sound = np.isfinite(features).all(axis=1) & np.isfinite(states).all(axis=1)
    return _Rows(group[0], features[sound], states[sound])


def _thinned(steps: Steps, elements: int) -> tuple[Array, Array]:
    """Features (N, I+H+1) and states (N, H) of steps evenly spread over time, float64."""
    B, T, H = steps.h.shape
    every = -(-B * T * (steps.direction.input_size + H + 1) // elements)
    times = np.arange(0, T, every)
    h0 = np.zeros((B, H)) if steps.h0 is None else np.asarray(steps.h0, np.float64)
    before = np.where((times == 0)[None, :, None], h0[:, None], steps.h[:, np.maximum(times - 1, 0)])
    h = steps.h[:, times]
    x = steps.x[:, times].astype(steps.h.dtype)  # as the side itself read them
    features = np.concatenate([x, before, np.ones((B, len(times), 1))], axis=2)
    return features.reshape(-1, features.shape[2]).astype(np.float64), h.reshape(-1, H).astype(np.float64)


def of_direction(group: Sequence[Steps], dtype: str) -> Iterator[Suspect | None]:
    """The suspects of one direction in all runs; None where no few weights explain the residuals of a unit."""
    rows = _rows(group)
    direction = rows.steps.direction
    weights = np.concatenate([direction.kernel[0], direction.recurrent_kernel[0], direction.bias]).astype(np.float64)
    residual, weight = _residuals(rows, weights, direction.bias_magnitude[0], dtype)
    floor = UNIT_ROUNDOFF[dtype] * np.abs(weights).max(axis=0)  # (H,)
    score, _ = _regress(rows.features, residual, weight, floor)
    for j in np.nonzero((score > SCORE).any(axis=0))[0][: FEW + 1]:
        picked, left = _pursue(rows.features, residual[:, j], weight[:, j], floor[j])
        if left > _LEFT:
            yield None
        for f, off in picked:
            yield _named(rows.steps, f, int(j), off, float(weights[f, j]))


def _residuals(rows: _Rows, weights: Array, bias_magnitude: Array, dtype: str) -> tuple[Array, Array]:
    """act^-1(h) - z (N, H), and its inverse variance, 0 where the state is saturated; weights (I+H+1, H)."""
    name = rows.steps.layer.activation
    u, error = UNIT_ROUNDOFF[dtype], activation_error(name)
    z = rows.features @ weights
    turns = (
        error.largest_slope > 0
    )  # not monotone: above zero only one pre-activation leads to a state, and no smaller one
    undone, slope, settled = _undo(name, rows.h, np.maximum(z, rows.h) if turns else z, 0.1 * u)
    settled &= (rows.h > 0) | (not turns)
    slope = np.minimum(slope, np.abs(slope_of(name)(z)))
    spread = u * (np.abs(rows.h) * (0.6 + 0.3 * error.ulps) + 0.5 * error.units)  # of the activation and of storing h
    m = np.count_nonzero(rows.features, axis=1)[:, None] + 1
    Q = rows.features[:, :-1] ** 2 @ weights[:-1] ** 2 + bias_magnitude**2
    # a random-like order of summation (Higham and Mary 2019); engines stay at about a third of it
    variance = 0.1 * u * u * (Q * (1 + m / 2) + m * z * z / 3) / 3 + (spread / np.maximum(slope, _LEAST_SLOPE)) ** 2
    usable = settled & (slope >= _LEAST_SLOPE) & np.isfinite(variance) & (variance > 0)
    return np.where(usable, undone - z, 0.0), np.where(usable, 1 / variance, 0.0)


def _undo(name: str, h: Array, z: Array, precision: float) -> tuple[Array, Array, Array]:
    """The pre-activation of h by Newton's method from z, the slope there, and where that worked; all (N, H)."""
    undone, close = z.copy(), np.maximum(precision, 2.0**-50 * np.abs(h))
    for _ in range(12):
        slope, gap = slope_of(name)(undone), h - activation_of(name)(undone)
        moving = (np.abs(gap) > close) & (np.abs(slope) >= _LEAST_SLOPE)
        if not moving.any():
            break
        undone += np.where(moving, np.clip(gap / np.where(moving, slope, 1.0), -1, 1), 0.0)
    return undone, np.abs(slope), np.abs(gap) <= close


def _regress(features: Array, residual: Array, weight: Array, floor: Array) -> tuple[Array, Array]:
    """Score and estimate (F, H) of every feature alone; residual and weight (N, H). No estimate, no score.

    `floor` (H,) is the least size of an estimate that counts.
    """
    moment = features.T @ (weight * residual)
    power = (features**2).T @ weight
    rounding = _USUAL * (np.abs(features).T @ np.sqrt(weight))
    count = np.maximum((weight > 0).sum(axis=0), 1)
    mean = (weight * residual**2).sum(axis=0) / count
    counts = np.abs(moment) > np.maximum(rounding, floor * power)
    score = np.where(counts, np.abs(moment) / np.sqrt(power * mean), 0.0)
    return np.nan_to_num(score), np.nan_to_num(moment / power)


def _pursue(features: Array, residual: Array, weight: Array, floor: float) -> tuple[list[tuple[int, float]], float]:
    """The features of one unit that its residuals (N,) point to, the clearest first, with what each is off by; and what
    variance they leave, in units of the usual.

    What shares its rows with a wrong weight scores too: each pick is fitted with those before it, and what they leave
    is regressed again.
    """
    picked: list[int] = []
    left, fitted = residual, np.zeros(0)
    root = np.sqrt(weight)
    while len(picked) <= FEW:
        score = _regress(features, left[:, None], weight[:, None], np.array([floor]))[0][:, 0]
        score[picked] = 0.0
        best = int(np.argmax(score))
        if score[best] <= SCORE:
            break
        picked.append(best)
        fitted = np.linalg.lstsq(features[:, picked] * root[:, None], residual * root, rcond=None)[0]
        left = residual - features[:, picked] @ fitted
    variance = float((weight * left**2).sum() / max((weight > 0).sum(), 1))
    return [(f, float(off)) for f, off in zip(picked, fitted, strict=True)], variance


def _named(steps: Steps, feature: int, unit: int, off_by: float, known: float) -> Suspect:
    I, H = steps.direction.input_size, steps.direction.hidden_size
    if feature < I:
        return Suspect(steps.where, "kernel", (feature, unit), off_by, known)
    if feature < I + H:
        return Suspect(steps.where, "recurrent kernel", (feature - I, unit), off_by, known)
    return Suspect(steps.where, "bias", (unit,), off_by, known)
