"""Biases not loaded, loaded once too often, halved, or taken from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from rnnverify import gate_mistakes, mistakes
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.diagnosis.by_behaviour import steps_at
from rnnverify.diagnosis.hypothesis import (
    Networks,
    Seen,
    everywhere_and_apart,
    named,
    placed,
    side_by_side,
)
from rnnverify.diagnosis.shown import INVERSES, turned_back
from rnnverify.diagnosis.shown_biases import shown_biases


def bias_missing(network: Network, _: Seen) -> Networks:
    """the bias is not loaded

    It is zero: a constant offset before the activation, from step 0 on. Load it, and look for an option that leaves
    biases out.

    Keras: bias is the third array of set_weights; use_bias has to be True.
    PyTorch: load bias_ih_l0 (and zeros into bias_hh_l0), with bias=True.
    TensorFlow: the variable is bias, beside kernel in the same scope.
    """
    # apache/tvm#15723
    yield from everywhere_and_apart(network, mistakes.bias_dropped)


def bias_missing_back(network: Network, seen: Seen) -> Networks:
    """Where every bias is zero, that of the other side; where only its states are known, the one that they show."""
    places = list(side_by_side(network, network))
    empty = [(n, place, d) for n, (place, d, _) in enumerate(places) if not np.any(d.bias)]
    found = network
    for n, place, d in empty:
        if seen.network is not None:
            found = placed(found, place, _with_bias_of(d, seen.network.layers[place[0]].directions[place[1]]))
            continue
        shown = _shown(network, seen, n, network.layers[place[0]], d)
        if shown is None:
            return
        found = placed(found, place, shown)
    if empty:
        yield ("" if len(empty) == len(places) else ", ".join(named(network, place) for _, place, _ in empty)), found


def bias_is_another(network: Network, seen: Seen) -> Networks:
    """only the bias is another one

    Every step is off by one constant for each unit, before the activation; the kernels are right. Load the bias of the
    same network; where there are two, they are added.

    Keras: bias = bias_ih_l0 + bias_hh_l0 of PyTorch.
    PyTorch: bias_ih_l0 + bias_hh_l0 is what has to be right; one of them may be missing.
    TensorFlow: bias = bias_ih_l0 + bias_hh_l0 of PyTorch.
    """
    if seen.network is not None:
        return
    found = network
    for k, (place, d, _) in enumerate(side_by_side(network, network)):
        shown = _shown(network, seen, k, network.layers[place[0]], d)
        if shown is None:
            return
        found = placed(found, place, shown)
    yield "", found


def _shown(network: Network, seen: Seen, k: int, layer: Layer, d: Direction) -> Direction | None:
    """Direction k with the biases that recorded states show."""
    if layer.cell != "rnn":
        return shown_biases(network, seen.runs, seen.dtype, k)
    bias = _shown_bias(network, seen, k, layer.activation, d)
    return bias if bias is None else replace(d, bias_input=bias[None], bias_recurrent=np.zeros_like(d.bias_recurrent))


def _shown_bias(network: Network, seen: Seen, k: int, activation: str, d: Direction) -> Array | None:
    """The bias (H,) of direction k that recorded states show: what the kernels leave over, at the median."""
    if activation not in INVERSES:
        return None
    left = []
    for run in seen.runs:
        B, T = run.batch.x.shape[:2]
        picked = np.linspace(0, B * T - 1, min(B * T, 256)).astype(int)
        steps = steps_at(network, run, *np.unravel_index(picked, (B, T)))
        if steps is None:
            return None
        terms, h = steps[k]
        weights = np.concatenate([d.kernel[0], d.recurrent_kernel[0]]).astype(np.float64)
        if terms.shape[1] != len(weights) or h.shape[1] != d.hidden_size:
            return None
        left.append(turned_back(activation, h) - terms @ weights)
    every = np.concatenate(left)
    if not np.isfinite(every).any(axis=0).all():
        return None
    return np.asarray(np.nanmedian(every, axis=0), d.bias_input.dtype)


def recurrent_bias_dropped(network: Network, _: Seen) -> Networks:
    """the second of two biases is dropped

    PyTorch adds two biases, and here one of them is lost: a constant offset before the activation, from step 0 on.
    Where there is one bias, it is the sum of both.

    Keras: bias = bias_ih_l0 + bias_hh_l0.
    PyTorch: bias_hh_l0 is missing or zero: load both.
    TensorFlow: bias = bias_ih_l0 + bias_hh_l0.
    """
    # stackoverflow 48361376, discuss.pytorch.org 113371, nntrainer/nntrainer#1780
    yield from everywhere_and_apart(network, lambda n: mistakes.each(n, lambda d: _only(d, "bias_input")))


def input_bias_dropped(network: Network, _: Seen) -> Networks:
    """the first of two biases is dropped

    PyTorch adds two biases, and here one of them is lost: a constant offset before the activation, from step 0 on.
    Where there is one bias, it is the sum of both.

    Keras: bias = bias_ih_l0 + bias_hh_l0.
    PyTorch: bias_ih_l0 is missing or zero: load both.
    TensorFlow: bias = bias_ih_l0 + bias_hh_l0.
    """
    yield from everywhere_and_apart(network, lambda n: mistakes.each(n, lambda d: _only(d, "bias_recurrent")))


def bias_doubled(network: Network, _: Seen) -> Networks:
    """one bias is copied into both

    PyTorch and ONNX add two biases, so the same numbers in both count twice: an offset from step 0 on. Put the bias
    into one of them, and zeros into the other.

    Keras: bias is the one bias itself, or bias_ih_l0 + bias_hh_l0.
    PyTorch: bias_ih_l0 is the bias, bias_hh_l0 is zeros.
    TensorFlow: bias is the one bias itself, or bias_ih_l0 + bias_hh_l0.
    """
    # onnx/keras-onnx#98, discuss.pytorch.org 110741
    yield from everywhere_and_apart(network, mistakes.bias_doubled)
    yield from everywhere_and_apart(network, lambda n: gate_mistakes.in_directions(n, "gru", _copied))


def bias_halved(network: Network, _: Seen) -> Networks:
    """the bias is halved

    A file with two biases may hold half of it in each, as Keras writes for cuDNN, and one half was read as the whole:
    an offset from step 0 on. Add the two halves.

    Keras: bias = bias_ih_l0 + bias_hh_l0.
    PyTorch: load both halves: bias_ih_l0 and bias_hh_l0.
    TensorFlow: bias = bias_ih_l0 + bias_hh_l0.
    """
    # keras-team/keras#8720
    yield from everywhere_and_apart(network, mistakes.bias_halved)


def one_bias_twice(network: Network, _: Seen) -> Networks:
    """one of two biases stands in the place of both

    The same line was written for both biases, so one counts twice and the other is lost: an offset from step 0 on. Load
    each from its own tensor.

    Keras: bias = bias_ih_l0 + bias_hh_l0, two different names.
    PyTorch: bias_ih_l0 goes to bias_ih_l0, bias_hh_l0 to bias_hh_l0.
    TensorFlow: bias = bias_ih_l0 + bias_hh_l0, two different names.
    """
    for name in ("bias_input", "bias_recurrent"):
        yield from everywhere_and_apart(network, lambda n, name=name: mistakes.each(n, lambda d: _twice(d, name)))  # type: ignore[misc]  # mypy infers no type for a lambda with a default


def biases_exchanged(network: Network, _: Seen) -> Networks:
    """the biases of two layers or directions are exchanged

    The kernels are right and each bias is that of another layer or direction: an offset from step 0 on. Match tensors
    by their full names, not by the order in which a file lists them.
    """
    places = [(place, d) for place, d, _ in side_by_side(network, network)]
    for (one, a), (other, b) in combinations(places, 2):
        if a.hidden_size == b.hidden_size:
            where = f"{named(network, one)} and {named(network, other)}"
            yield where, placed(placed(network, one, _with_bias_of(a, b)), other, _with_bias_of(b, a))


def _with_bias_of(d: Direction, other: Direction) -> Direction:
    return replace(d, bias_input=other.bias_input, bias_recurrent=other.bias_recurrent)


def _only(d: Direction, name: str) -> Direction:
    zero = np.zeros_like(d.bias_input)
    if not (np.any(d.bias_input) and np.any(d.bias_recurrent)):
        return d
    return replace(d, **{"bias_input": zero, "bias_recurrent": zero, name: getattr(d, name)})


def _copied(d: Direction) -> Direction:
    """In a GRU, where the candidate has one of them inside of its reset gate."""
    return d if np.any(d.bias_recurrent) or not np.any(d.bias_input) else replace(d, bias_recurrent=d.bias_input)


def _twice(d: Direction, name: str) -> Direction:
    if not (np.any(d.bias_input) and np.any(d.bias_recurrent)):
        return d
    bias: Array = getattr(d, name)
    return replace(d, bias_input=bias, bias_recurrent=bias)
