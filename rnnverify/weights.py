"""Weights side by side: what differs between two canonical networks, beyond what a change of layout rounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rnnverify.around import Around
from rnnverify.around import same_shapes as same_heads
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.comparison import TensorDifference
from rnnverify.precision import UNIT_ROUNDOFF
from rnnverify.weight_map import weight_map


def structure(network: Network) -> str:
    """Everything but the numbers, in words: `2 layers, 5 -> 8 -> 8, tanh, bidirectional (concat)`."""
    layers = network.layers
    sizes = " -> ".join(str(size) for size in (network.input_size, *(layer.hidden_size for layer in layers)))
    words = [f"{len(layers)} layer" + "s" * (len(layers) > 1), sizes]
    words.append("/".join(dict.fromkeys(_formula(layer) for layer in layers)))
    if any(layer.bidirectional for layer in layers):
        words.append("bidirectional (" + "/".join(dict.fromkeys(layer.merge for layer in layers)) + ")")
    if any(layer.directions[0].reverse for layer in layers):
        words.append(
            "backwards" + ("" if all(layer.time_restored for layer in layers) else ", outputs not turned back")
        )
    return ", ".join(words)


def _formula(layer: Layer) -> str:
    """What a step computes: `relu`, `gru (reset after)`, `lstm (hard_sigmoid gates, peepholes)`."""
    if layer.cell == "rnn":
        return layer.activation
    gating, first = layer.gating, layer.directions[0]
    said = [
        ("reset after" if gating.reset_after else "reset before") * (layer.cell == "gru"),
        f"{gating.activation} gates" * (gating.activation != "sigmoid"),
        f"{layer.activation} candidate" * (layer.activation != "tanh"),
        f"{gating.output} output" * (gating.output not in ("", layer.activation)),
        "peepholes" * (first.peephole is not None),
        f"projected to {first.state_size}" * (first.projection is not None),
        f"cell clipped at {gating.cell_clip:g}" * (gating.cell_clip > 0),
    ]
    words = ", ".join(word for word in said if word)
    return layer.cell + f" ({words})" * bool(words)


def same_shapes(a: Network, b: Network) -> bool:
    """Whether the tensors of both networks correspond one to one."""
    mine, theirs = (
        [([w.shape for _, w in d.tensors()], d.reverse) for _, _, d in network.directions()] for network in (a, b)
    )
    layouts = (
        [(layer.cell, len(layer.directions), layer.merge, layer.time_restored) for layer in n.layers] for n in (a, b)
    )
    return mine == theirs and next(layouts) == next(layouts)


def compare_weights(baseline: Network, candidate: Network) -> tuple[tuple[TensorDifference, ...], tuple[str, ...]]:
    """Tensor by tensor, and what differs in structure, as sentences.

    Kernels must be equal, but for the rounding of one that a file holds in parts. Of the biases only the sum counts,
    and a file with one bias may hold it rounded once to its dtype: that much is `rounded`, not `differing`; but in the
    candidate of a GRU that resets its recurrent half, each bias counts. Tensors are compared where both networks have
    them in one shape.
    """
    reasons = list(_structure_reasons(baseline, candidate))
    tensors: list[TensorDifference] = []
    theirs = {where: (layer, direction) for where, layer, direction in candidate.directions()}
    for where, layer, ours in baseline.directions():
        if where not in theirs:
            continue
        other_layer, other = theirs[where]
        if layer.cell != other_layer.cell or other.kernel.shape != ours.kernel.shape:
            continue
        split = layer.cell == "gru" and layer.gating.reset_after and other_layer.gating.reset_after
        tensors += _kernel_differences(where, ours, other)
        tensors += compare_biases(where, ours, other, split)
    return tuple(tensors), tuple(reasons)


def compare_around(baseline: Around, candidate: Around) -> Iterator[TensorDifference]:
    """The tables and dense layers that both sides have, tensor by tensor; those of other shapes are left out."""
    tables = (baseline.embedding, candidate.embedding)
    if tables[0] and tables[1] and tables[0].table.shape == tables[1].table.shape:
        yield _difference("embedding table", tables[0].table, tables[1].table)
    if baseline.head and candidate.head and same_heads(baseline.head, candidate.head):
        for ours, theirs in zip(baseline.head.layers, candidate.head.layers, strict=True):
            name = f"dense {ours.name}".rstrip()
            yield _difference(f"{name} kernel", ours.kernel, theirs.kernel)
            yield _difference(f"{name} bias", ours.bias, theirs.bias)


def _kernel_differences(where: str, ours: Direction, other: Direction) -> Iterator[TensorDifference]:
    theirs = dict(other.tensors())
    for name, a in ours.tensors():
        b = theirs.get(name)
        if name.startswith("bias") or b is None or b.shape != a.shape:
            continue
        allowed = _rebuilt(a, b) if "kernel" in name and (ours.rebuilt or other.rebuilt) else 0.0
        yield _difference(f"{where} {name.replace('_', ' ')}", a, b, allowed)


def compare_biases(where: str, ours: Direction, other: Direction, split: bool) -> Iterator[TensorDifference]:
    """The sum of the two biases; where they are `split`, those of the candidate (the last gate) one by one."""
    dtype, allowed = _narrower(ours, other), _allowed(ours, other)
    if not split:
        yield _difference(f"{where} bias", ours.bias, other.bias, allowed, dtype)
        return
    yield _difference(f"{where} bias of the gates", ours.bias[:-1], other.bias[:-1], allowed[:-1], dtype)
    for name in ("bias_input", "bias_recurrent"):
        a, b = (getattr(d, name)[-1:] for d in (ours, other))
        words = "input" if name == "bias_input" else "recurrent"
        yield _difference(f"{where} {words} bias of the candidate", a, b, 0.0, dtype)


def _structure_reasons(a: Network, b: Network) -> list[str]:
    if len(a.layers) != len(b.layers):
        return [f"the baseline has {len(a.layers)} layers, the other {len(b.layers)}"]
    reasons = []
    for k, (ours, theirs) in enumerate(zip(a.layers, b.layers, strict=True)):
        for what, mine, other in (*_formulas(ours, theirs), *_sizes(ours, theirs)):
            if mine != other:
                reasons.append(f"layer {k}: {what} {mine} against {other}")
        if ours.bidirectional and theirs.bidirectional and ours.merge != theirs.merge:
            reasons.append(f"layer {k}: directions merged by {ours.merge} against {theirs.merge}")
        backwards = [layer.directions[0].reverse for layer in (ours, theirs)]
        if backwards[0] != backwards[1]:
            reasons.append(
                f"layer {k}: runs {'backwards against forwards' if backwards[0] else 'forwards against backwards'}"
            )
        elif ours.time_restored != theirs.time_restored:
            reasons.append(f"layer {k}: the outputs of a backward run are turned back in time on one side only")
    return reasons


def _formulas(a: Layer, b: Layer) -> Iterator[tuple[str, object, object]]:
    """What the steps of two layers compute, side by side."""
    yield "cell", a.cell, b.cell
    yield "activation", a.activation, b.activation
    if a.cell != b.cell or a.cell == "rnn":
        return
    yield "gate activation", a.gating.activation, b.gating.activation
    if a.cell == "gru":
        resets = ("before the recurrent product", "after it")
        yield "reset gate acts", resets[a.gating.reset_after], resets[b.gating.reset_after]
    else:
        yield "output activation", a.gating.output or a.activation, b.gating.output or b.activation
        clips = [f"{y.gating.cell_clip:g}" if y.gating.cell_clip else "none" for y in (a, b)]
        yield "cell clip", clips[0], clips[1]


def _sizes(a: Layer, b: Layer) -> Iterator[tuple[str, object, object]]:
    yield "hidden size", a.hidden_size, b.hidden_size
    yield "number of directions", len(a.directions), len(b.directions)
    first, other = a.directions[0], b.directions[0]
    for what, mine, theirs in (
        ("projection", first.projection, other.projection),
        ("peepholes", first.peephole, other.peephole),
    ):
        yield what, _shape(mine), _shape(theirs)


def _shape(weights: Array | None) -> str:
    return "none" if weights is None else str(weights.shape)


def _rebuilt(a: Array, b: Array) -> Array:
    """How far two kernels (G, I, H) may lie apart where one was split as weight_norm does, and put together again.

    w = g v / |v|, a norm for each row or column, over n weights. A norm meets n/2 + 1 roundings (n squares and their
    sum, halved by the root), once when g was taken and once when v is divided by it; product and quotient two more.
    """
    unit = UNIT_ROUNDOFF.get(min((a.dtype, b.dtype), key=lambda each: each.itemsize).name, 0.0)
    largest = np.maximum(np.abs(a), np.abs(b)).astype(np.float64)
    return np.asarray(unit * (max(a.shape[1:]) + 4) * largest)


def _allowed(a: Direction, b: Direction) -> Array:
    """How far the bias sums (G, H) of two sides may lie apart by layout alone.

    A side with one bias may hold the other's exact sum, rounded once to its dtype; a side with two may have split one
    bias in two parts, and rounded those.
    """
    dtype = _narrower(a, b)
    unit = UNIT_ROUNDOFF.get(dtype.name, 0.0)
    split = [np.where(d.bias_recurrent != 0, d.bias_magnitude, 0.0) for d in (a, b)]
    same = a.bias.astype(dtype) == b.bias.astype(dtype)
    return np.where(same, np.inf, unit * np.maximum(*split))


def _narrower(a: Direction, b: Direction) -> np.dtype[Any]:
    return min((d.bias_input.dtype for d in (a, b)), key=lambda each: each.itemsize)


def _difference(
    name: str, a: Array, b: Array, allowed: Array | float = 0.0, dtype: np.dtype[Any] | None = None
) -> TensorDifference:
    dtype = min((a.dtype, b.dtype), key=lambda each: each.itemsize) if dtype is None else dtype
    a, b = a.astype(np.float64), b.astype(np.float64)
    difference = np.abs(a - b)
    with np.errstate(over="ignore"):
        ulp = np.spacing(np.maximum(np.abs(a), np.abs(b)).astype(dtype)).astype(np.float64)
    differing = difference > allowed
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(difference)), difference.shape))
    return TensorDifference(
        name=name,
        shape=a.shape,
        differing=int(differing.sum()),
        max_abs=float(difference[at]),
        at=at[1:] if a.shape[0] == 1 else at,
        baseline_value=float(a[at]),
        candidate_value=float(b[at]),
        max_ulp=float((difference / ulp).max()),
        rounded=int((difference > 0).sum() - differing.sum()),
        map=weight_map(a, b) if differing.any() else None,
    )
