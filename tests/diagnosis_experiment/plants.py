"""Porting mistakes made on purpose, in a network or in one part of it, or in how it is run.

They are written here a second time, and forwards, so that the hypotheses are not held against themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnnverify.canonical import GATES, Array, Direction, Layer, Network
from rnnverify.trace import Batch, Run

Planted = tuple[Network, str]
"""A wrong network, and where the mistake was made."""

Plant = Callable[[Network, np.random.Generator], Network | None]


def each(network: Network, change: Callable[[Direction], Direction], rng: np.random.Generator) -> Network:
    """`change` everywhere, or in one layer, or in one direction."""
    places = [(k, j) for k, layer in enumerate(network.layers) for j in range(len(layer.directions))]
    chosen = set(places)
    if rng.uniform() < 0.5:
        k, j = places[int(rng.integers(len(places)))]
        chosen = {(k, j)} if rng.uniform() < 0.5 else {place for place in places if place[0] == k}
    layers = (
        replace(layer, directions=tuple(change(d) if (k, j) in chosen else d for j, d in enumerate(layer.directions)))
        for k, layer in enumerate(network.layers)
    )
    return Network(tuple(layers))


def with_tensors(d: Direction, tensors: Mapping[str, Array]) -> Direction:
    changed: dict[str, Any] = dict(tensors)
    return replace(d, **changed)


def square(d: Direction) -> bool:
    return d.input_size == d.hidden_size


def _recurrent_transposed(n: Network, rng: np.random.Generator) -> Network:
    return each(n, lambda d: replace(d, recurrent_kernel=d.recurrent_kernel.transpose(0, 2, 1)), rng)


def _kernel_transposed(n: Network, rng: np.random.Generator) -> Network:
    return each(n, lambda d: replace(d, kernel=d.kernel.transpose(0, 2, 1)) if square(d) else d, rng)


def _reshaped(n: Network, rng: np.random.Generator) -> Network:
    if rng.uniform() < 0.5:
        return each(n, lambda d: replace(d, kernel=np.stack([w.T.reshape(w.shape) for w in d.kernel])), rng)
    return each(n, lambda d: replace(d, kernel=np.stack([w.reshape(w.shape[::-1]).T for w in d.kernel])), rng)


def _swapped(n: Network, rng: np.random.Generator) -> Network:
    return each(n, lambda d: replace(d, kernel=d.recurrent_kernel, recurrent_kernel=d.kernel) if square(d) else d, rng)


def _concatenated(n: Network, rng: np.random.Generator) -> Network:
    def as_hx(d: Direction) -> Direction:
        rows = np.concatenate([d.kernel, d.recurrent_kernel], axis=1)
        return replace(d, kernel=rows[:, d.hidden_size :], recurrent_kernel=rows[:, : d.hidden_size])

    return each(n, as_hx, rng)


def _recurrence_lost(n: Network, rng: np.random.Generator) -> Network:
    return each(n, lambda d: replace(d, recurrent_kernel=0 * d.recurrent_kernel), rng)


def _biases(first: float, second: float) -> Plant:
    def plant(n: Network, rng: np.random.Generator) -> Network:
        return each(
            n,
            lambda d: replace(
                d,
                bias_input=d.bias_input * np.float32(first),
                bias_recurrent=d.bias_recurrent * np.float32(second),
            ),
            rng,
        )

    return plant


def _has_two(n: Network) -> bool:
    return any(np.any(d.bias_recurrent) for _, _, d in n.directions())


def _second_dropped(n: Network, rng: np.random.Generator) -> Network | None:
    return _biases(1, 0)(n, rng) if _has_two(n) else None


def _first_dropped(n: Network, rng: np.random.Generator) -> Network | None:
    return _biases(0, 1)(n, rng) if _has_two(n) else None


def _activation(n: Network, name: str, rng: np.random.Generator) -> Network:
    layers = list(n.layers)
    chosen = range(len(layers)) if rng.uniform() < 0.6 else [int(rng.integers(len(layers)))]
    for k in chosen:
        layers[k] = replace(layers[k], activation=name)
    return Network(tuple(layers))


def _other_activation(n: Network, rng: np.random.Generator) -> Network:
    names = [a for a in ("tanh", "relu", "sigmoid", "hard_sigmoid") if a != n.layers[0].activation]
    return _activation(n, str(rng.choice(names)), rng)


def _activation_missing(n: Network, rng: np.random.Generator) -> Network:
    return _activation(n, "linear", rng)


def _alike(n: Network) -> list[tuple[int, int]]:
    shapes = [[d.kernel.shape for d in layer.directions] for layer in n.layers]
    return [(k, m) for k in range(len(shapes)) for m in range(k) if shapes[k] == shapes[m]]


def _take(layer: Layer, other: Layer) -> Layer:
    pairs = zip(layer.directions, other.directions, strict=True)
    return replace(layer, directions=tuple(replace(b, reverse=a.reverse) for a, b in pairs))


def _layers_swapped(n: Network, rng: np.random.Generator) -> Network | None:
    if not _alike(n):
        return None
    k, m = _alike(n)[int(rng.integers(len(_alike(n))))]
    layers = list(n.layers)
    layers[k], layers[m] = _take(n.layers[k], n.layers[m]), _take(n.layers[m], n.layers[k])
    return Network(tuple(layers))


def _layer_repeated(n: Network, rng: np.random.Generator) -> Network | None:
    if not _alike(n):
        return None
    k, m = _alike(n)[int(rng.integers(len(_alike(n))))]
    layers = list(n.layers)
    layers[k] = _take(n.layers[k], n.layers[m])
    return Network(tuple(layers))


def _both_ways(n: Network, change: Callable[[Direction, Direction], tuple[Direction, ...]]) -> Network | None:
    if not any(layer.bidirectional for layer in n.layers):
        return None
    return Network(tuple(replace(a, directions=change(*a.directions)) if a.bidirectional else a for a in n.layers))


def _directions_swapped(n: Network, _: np.random.Generator) -> Network | None:
    return _both_ways(n, lambda f, b: (replace(b, reverse=False), replace(f, reverse=True)))


def _directions_tied(n: Network, _: np.random.Generator) -> Network | None:
    return _both_ways(n, lambda f, _: (f, replace(f, reverse=True)))


def _biases_exchanged(n: Network, rng: np.random.Generator) -> Network | None:
    places = [(k, j) for k, layer in enumerate(n.layers) for j in range(len(layer.directions))]
    if len(places) < 2:
        return None
    one, other = (places[int(i)] for i in rng.choice(len(places), 2, replace=False))
    a, b = (n.layers[k].directions[j] for k, j in (one, other))
    if a.hidden_size != b.hidden_size:
        return None
    layers = [list(layer.directions) for layer in n.layers]
    layers[one[0]][one[1]] = replace(a, bias_input=b.bias_input, bias_recurrent=b.bias_recurrent)
    layers[other[0]][other[1]] = replace(b, bias_input=a.bias_input, bias_recurrent=a.bias_recurrent)
    return Network(tuple(replace(x, directions=tuple(ds)) for x, ds in zip(n.layers, layers, strict=True)))


def _halves(n: Network, _: np.random.Generator) -> Network | None:
    for k in range(1, len(n.layers)):
        below = n.layers[k - 1]
        if below.bidirectional and below.merge == "concat":
            H = below.hidden_size
            turned = tuple(
                replace(d, kernel=np.concatenate([d.kernel[:, H:], d.kernel[:, :H]], axis=1))
                for d in n.layers[k].directions
            )
            return Network((*n.layers[:k], replace(n.layers[k], directions=turned), *n.layers[k + 1 :]))
    return None


def _merge(n: Network, rng: np.random.Generator) -> Network | None:
    for k, layer in enumerate(n.layers):
        if layer.bidirectional and layer.merge != "concat":
            other = rng.choice([m for m in ("sum", "mul", "ave") if m != layer.merge])
            return Network((*n.layers[:k], replace(layer, merge=str(other)), *n.layers[k + 1 :]))  # type: ignore[arg-type]  # one of the three
    return None


def _reversed(n: Network, rng: np.random.Generator) -> Network | None:
    ways = [k for k, layer in enumerate(n.layers) if not layer.bidirectional]
    if not ways:
        return None
    k = int(rng.choice(ways))
    (d,) = n.layers[k].directions
    turned = replace(
        n.layers[k],
        directions=(replace(d, reverse=not d.reverse),),
        time_restored=bool(d.reverse) or rng.uniform() < 0.5,
    )
    return Network((*n.layers[:k], turned, *n.layers[k + 1 :]))


def _not_turned_back(n: Network, _: np.random.Generator) -> Network | None:
    for k, layer in enumerate(n.layers):
        if any(d.reverse for d in layer.directions):
            return Network((*n.layers[:k], replace(layer, time_restored=not layer.time_restored), *n.layers[k + 1 :]))
    return None


def _units(n: Network, rng: np.random.Generator) -> Network:
    """The units of the top layer in another order, for tanh some of other sign; of merged directions alike."""
    top = n.layers[-1]
    H = top.hidden_size
    order = rng.permutation(H)
    odd = top.activation == "tanh" and top.gating.output in ("", "tanh")
    signs = rng.choice([1.0, -1.0], H) if odd and rng.uniform() < 0.5 else np.ones(H)
    signs = signs if not (top.bidirectional and top.merge == "mul") else np.ones(H)
    s = signs.astype(np.float32)

    of_gate = np.ones((len(GATES[top.cell]), H), np.float32)  # gates keep their sign, states and candidates change it
    of_gate[0 if top.cell == "rnn" else 2] = s

    def change(d: Direction) -> Direction:
        return replace(
            d,
            kernel=d.kernel[:, :, order] * of_gate[:, None],
            recurrent_kernel=d.recurrent_kernel[:, order][:, :, order] * of_gate[:, None] * s[:, None],
            bias_input=d.bias_input[:, order] * of_gate,
            bias_recurrent=d.bias_recurrent[:, order] * of_gate,
            peephole=None if d.peephole is None else d.peephole[:, order] * s,
        )

    return Network((*n.layers[:-1], replace(top, directions=tuple(change(d) for d in top.directions))))


def _all_tensors(n: Network, change: Callable[[Array], Array]) -> Network:
    directions = (
        tuple(with_tensors(d, {name: change(a) for name, a in d.tensors()}) for d in y.directions) for y in n.layers
    )
    return Network(tuple(replace(layer, directions=each) for layer, each in zip(n.layers, directions, strict=True)))


def _float16(n: Network, _: np.random.Generator) -> Network:
    return _all_tensors(n, lambda a: a.astype(np.float16).astype(np.float32))


def _decimals(n: Network, _: np.random.Generator) -> Network:
    return _all_tensors(n, lambda a: np.array([f"{value:.4f}" for value in a.ravel()], np.float32).reshape(a.shape))


def _rows(n: Network, _: np.random.Generator) -> Network | None:
    d = n.layers[0].directions[0]
    if d.input_size < 3:
        return None
    order = np.roll(np.arange(d.input_size), 1)
    changed = replace(d, kernel=d.kernel[:, order])
    return Network((replace(n.layers[0], directions=(changed, *n.layers[0].directions[1:])), *n.layers[1:]))


NETWORK_PLANTS: Mapping[str, Plant] = {
    "the recurrent kernel is transposed": _recurrent_transposed,
    "a square input kernel is transposed": _kernel_transposed,
    "the input kernel is reshaped where it should be transposed": _reshaped,
    "input and recurrent kernel are swapped": _swapped,
    "a kernel over [x, h] is read as one over [h, x]": _concatenated,
    "the recurrent kernel is not loaded": _recurrence_lost,
    "the bias is not loaded": _biases(0, 0),
    "the second of two biases is dropped": _second_dropped,
    "the first of two biases is dropped": _first_dropped,
    "one bias is copied into both": _biases(2, 2),
    "the bias is halved": _biases(0.5, 0.5),
    "another activation stands in its place": _other_activation,
    "the activation is missing": _activation_missing,
    "two layers are swapped": _layers_swapped,
    "the weights of one layer are used in another too": _layer_repeated,
    "forward and backward weights are swapped": _directions_swapped,
    "the weights of one direction are used in both": _directions_tied,
    "the biases of two layers or directions are exchanged": _biases_exchanged,
    "a layer reads [backward, forward] instead of [forward, backward]": _halves,
    "the two directions are merged in another way": _merge,
    "a sequence is read from the wrong end": _reversed,
    "the outputs of a backward run are not turned back in time": _not_turned_back,
    "the hidden units are in another order, or of another sign or scale": _units,
    "the weights are rounded to fewer digits": _float16,
    "the weights are rounded to fewer digits ": _decimals,
    "the rows of a kernel are in another order": _rows,
}
"""By the name that should be found; the mistakes of files."""

Execute = Callable[[Network, Batch], Run]


def _swap_axes(execute: Execute, n: Network, batch: Batch) -> Run:
    run = execute(n, replace(batch, x=np.ascontiguousarray(batch.x.swapaxes(0, 1))))
    return Run(batch, run.y.swapaxes(0, 1), (), tuple(s.swapaxes(0, 1) for s in run.states))


def _view(execute: Execute, n: Network, batch: Batch) -> Run:
    B, T, I = batch.x.shape
    run = execute(n, replace(batch, x=np.ascontiguousarray(batch.x.reshape(T, B, I).swapaxes(0, 1))))
    return Run(batch, run.y, (), run.states)


def _carried(execute: Execute, n: Network, batch: Batch) -> Run:
    first = execute(n, batch)
    return replace(execute(n, replace(batch, h0=first.h_n, c0=first.c_n or None)), batch=batch)


def _nonzero(execute: Execute, n: Network, batch: Batch) -> Run:
    rng = np.random.default_rng(7)
    h0 = tuple(rng.normal(0, 0.5, (len(batch.x), d.hidden_size)).astype(np.float32) for _, _, d in n.directions())
    return replace(execute(n, replace(batch, h0=h0)), batch=batch)


def _doubled(execute: Execute, n: Network, batch: Batch) -> Run:
    run = execute(n, batch)
    return replace(run, y=np.tanh(run.y), h_n=(), states=())


def _last(execute: Execute, n: Network, batch: Batch) -> Run:
    run = execute(n, batch)
    return replace(run, y=np.repeat(run.y[:, -1:], run.y.shape[1], axis=1), h_n=(), states=())


def _dropout(execute: Execute, n: Network, batch: Batch) -> Run:
    run = execute(n, batch)
    keep = np.random.default_rng(3).uniform(size=run.y.shape) < 0.7
    return replace(run, y=np.where(keep, run.y / np.float32(0.7), np.float32(0)), h_n=(), states=())


def _unchained(execute: Execute, n: Network, batch: Batch) -> Run | None:
    if len(n.layers) < 2 or any(layer.input_size != n.input_size for layer in n.layers):
        return None
    runs = [execute(Network((layer,)), batch) for layer in n.layers]
    states = tuple(s for run in runs for s in (run.states or (run.y,)))
    return Run(batch, runs[-1].y, tuple(h for run in runs for h in run.h_n), states)


RUN_PLANTS: Mapping[str, Callable[[Execute, Network, Batch], Run | None]] = {
    "batch and time are swapped": _swap_axes,
    "x is reshaped to (T, B, I) where it should be transposed": _view,
    "the state is carried over from the sequence before": _carried,
    "the initial state is not zero": _nonzero,
    "the activation is applied twice to the outputs": _doubled,
    "every step holds the output of the last": _last,
    "dropout is active": _dropout,
    "every layer reads the input, not the layer below": _unchained,
}
"""By the name that should be found; the mistakes of recordings."""


@dataclass(frozen=True)
class Trial:
    """A right network, what was made of it, and the names of what was done."""

    right: Network
    wrong: Network
    names: tuple[str, ...]
