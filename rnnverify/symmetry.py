"""Networks that compute one function and differ in the order, sign or scale of their hidden units.

W' = W P s,  U' = (P s)^-1 U (P s),  b' = b P s:  P a permutation; s signs for an odd activation (tanh), positive scales
for a homogeneous one (relu), both for linear. Generically there is no other way to write a recurrent network of tanh
(Albertini and Sontag 1993; Sussmann 1992).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify import gate_symmetry
from rnnverify.canonical import Array, CellKind, Direction, Layer, Network

_ODD = {"tanh", "softsign", "hard_tanh", "tanh_shrink", "linear"}
_HOMOGENEOUS = {"relu", "leaky_relu", "linear"}
_SHOWN = 12
_FEW, _ROWS = 8, 32  # units that are looked at first, and numbers of each
_REACH = 0.05  # of the square of their size: how far apart units may be that match


@dataclass(frozen=True)
class Units:
    """One direction: its unit `order[j]`, times `factors[j]`, is unit j of the other network."""

    where: str
    order: tuple[int, ...]
    factors: tuple[float, ...]

    @property
    def is_trivial(self) -> bool:
        return self.order == tuple(range(len(self.order))) and set(self.factors) == {1.0}

    def __str__(self) -> str:
        words = [] if list(self.order) == sorted(self.order) else [f"units {brief(self.order)}"]
        turned = [j for j, factor in enumerate(self.factors) if factor == -1]
        if turned:
            words.append(f"signs of {brief(turned)} flipped")
        scales = sorted({abs(factor) for factor in self.factors} - {1.0})
        if scales:
            words.append("scaled by " + ", ".join(f"{scale:g}" for scale in scales[:3]) + ("..." if scales[3:] else ""))
        return f"{self.where}: {', '.join(words)}"


@dataclass(frozen=True)
class Symmetry:
    """How the units of one network become those of another."""

    directions: tuple[Units, ...]

    @property
    def is_trivial(self) -> bool:
        return all(units.is_trivial for units in self.directions)

    def __str__(self) -> str:
        return "; ".join(str(units) for units in self.directions if not units.is_trivial)


def brief(numbers: Sequence[int]) -> str:
    """At most a dozen of `numbers`."""
    shown = " ".join(str(n) for n in numbers[:_SHOWN])
    return shown + (f" ... ({len(numbers)} in all)" if len(numbers) > _SHOWN else "")


Match = Callable[[int, int, Direction], "Matched | None"]
"""Layer, direction, and its weights with the rows in the order of the layer below: how its units match the other's."""

Matched = tuple[list[int], list[float]]
"""`Units.order` and `Units.factors`."""


def find(network: Network, other: Network) -> Symmetry | None:
    """The symmetry that brings the input kernels and biases of `network` to those of `other`, if there is one.

    Input kernels (G, I, H) and biases (G, H) decide; where they leave units alike, the recurrent kernels (G, H, H) do,
    or either kernel without the other.
    Whether the recurrent kernels agree too is for the caller to see: compare `applied(network, found)` with `other`.
    """
    shapes = [[[d.kernel.shape for d in layer.directions] for layer in each.layers] for each in (network, other)]
    if shapes[0] != shapes[1] or any(a.formula != b.formula for a, b in zip(network.layers, other.layers, strict=True)):
        return None

    def match(k: int, j: int, ours: Direction) -> Matched | None:
        layer, theirs = network.layers[k], other.layers[k].directions[j]
        if layer.cell != "rnn":
            return gate_symmetry.matched(layer, ours, theirs, free(layer) in _ODD)
        features = zip(_features(ours), _features(theirs), strict=True)
        return next((found for a, b in features if (found := matched(a, b, layer.activation))), None)

    return find_by(network, match)


def free(layer: Layer) -> str:
    """An activation that lets pass the signs and scales that are free in `layer`: its own, but in a gated cell."""
    if layer.cell == "rnn":
        return layer.activation
    return "tanh" if {layer.activation, layer.gating.output or layer.activation} <= _ODD else "sigmoid"


def find_by(network: Network, match: Match) -> Symmetry | None:
    """The symmetry of which `match` tells each direction's part, from the first layer up; None where it cannot."""
    found: list[Units] = []
    below: Units | None = None
    for k, layer in enumerate(network.layers):
        here = []
        for j, direction in enumerate(layer.directions):
            where = f"layer {k}" + (f" {'reverse' if j else 'forward'}" if layer.bidirectional else "")
            units = match(k, j, _rows(direction, below))
            if units is None:
                return None
            here.append(Units(where, tuple(units[0]), tuple(units[1])))
        if layer.bidirectional and layer.merge != "concat" and _differ(*here):
            return None  # merged unit by unit: no rows of the next layer could make up for it
        found += here
        below = _outputs(layer, here)
    return Symmetry(tuple(found))


def applied(network: Network, symmetry: Symmetry) -> Network:
    """`network` with its units in the order, sign and scale that `symmetry` says."""
    units = iter(symmetry.directions)
    below: Units | None = None
    layers = []
    for layer in network.layers:
        here = [next(units) for _ in layer.directions]
        pairs = zip(layer.directions, here, strict=True)
        turned = (_turned(layer.cell, _rows(d, below), each) for d, each in pairs)
        layers.append(replace(layer, directions=tuple(turned)))
        below = _outputs(layer, here)
    return replace(network, layers=tuple(layers))


def _outputs(layer: Layer, here: list[Units]) -> Units:
    """The units that the next layer reads."""
    if len(here) == 1 or layer.merge != "concat":
        return here[0]
    forward, reverse = here
    order = forward.order + tuple(layer.hidden_size + j for j in reverse.order)
    return Units("", order, forward.factors + reverse.factors)


def _differ(one: Units, other: Units) -> bool:
    return (one.order, one.factors) != (other.order, other.factors)


def _rows(d: Direction, below: Units | None) -> Direction:
    if below is None or below.is_trivial:
        return d
    inverse = (1 / np.asarray(below.factors)).astype(d.kernel.dtype)
    return replace(d, kernel=d.kernel[:, list(below.order)] * inverse[:, None])


def _turned(cell: CellKind, d: Direction, units: Units) -> Direction:
    if units.is_trivial:
        return d
    if cell != "rnn":
        return gate_symmetry.turned(cell, d, units.order, units.factors)
    order, factors = list(units.order), np.asarray(units.factors).astype(d.kernel.dtype)
    recurrent = d.recurrent_kernel[:, order][:, :, order]
    return replace(
        d,
        kernel=d.kernel[:, :, order] * factors,
        recurrent_kernel=recurrent * (factors / factors[:, None]),
        bias_input=d.bias_input[:, order] * factors,
        bias_recurrent=d.bias_recurrent[:, order] * factors,
    )


def _features(d: Direction) -> Iterator[Array]:
    """What tells units apart, (features, H): kernel and bias; where that does not do, the recurrent kernel as well."""
    first = np.concatenate([*d.kernel.astype(np.float64), d.bias])
    yield first
    U = d.recurrent_kernel.astype(np.float64)
    sizes = [f(each, axis=k) for each in np.abs(U) for k in (0, 1) for f in (np.sum, np.max, np.linalg.norm)]
    shape = np.stack([*(np.diag(each) for each in U), *sizes])
    yield np.concatenate([first, shape])
    yield np.concatenate([*d.kernel.astype(np.float64)])  # where the bias is wrong besides
    yield np.concatenate([d.bias, shape])  # where the kernel is


def matched(a: Array, b: Array, activation: str) -> Matched | None:
    """For each column of b (n, H) the nearest of a (n, H), up to the signs and scales that the activation lets pass.

    None where two columns have the same nearest.
    """
    quick = (_normalised(each[:_ROWS], activation)[0] for each in (a, b))
    if not _near(*quick):
        return None
    one, ours = _normalised(a, activation)
    other, theirs = _normalised(b, activation)
    distance = (one * one).sum(axis=0)[:, None] - 2 * one.T @ other  # (H, H); the term of b alone changes nothing
    order = [int(j) for j in np.argmin(distance, axis=0)]
    if sorted(order) != list(range(len(order))):
        return None
    factors = theirs / ours[order]
    if activation in _HOMOGENEOUS:
        largest = np.argmax(np.abs(a[:, order]), axis=0)
        columns = np.arange(len(order))
        bottom = a[largest, order]
        exact = np.divide(b[largest, columns], bottom, out=np.ones_like(bottom), where=bottom != 0)
        factors = np.where(np.sign(exact) == np.sign(factors), exact, factors)
    return order, [_snapped(float(factor)) for factor in factors]


def _near(a: Array, b: Array) -> bool:
    """Whether most of the first columns of b (n, H) are near one of a (n, H): quick to tell that nothing matches."""
    b = b[:, :_FEW]
    distance = (a * a).sum(axis=0)[:, None] - 2 * a.T @ b + (b * b).sum(axis=0)
    return bool(np.median(distance.min(axis=0)) <= _REACH * np.median((b * b).sum(axis=0)))


def _snapped(factor: float) -> float:
    """The power of two that a factor is meant to be: others leave no weight as it was."""
    if factor == 0 or not np.isfinite(factor):
        return 1.0
    nearest = float(np.copysign(2.0 ** np.round(np.log2(abs(factor))), factor))
    return nearest if abs(factor / nearest - 1) < 1e-4 else factor


def _normalised(a: Array, activation: str) -> tuple[Array, Array]:
    """The columns of a (n, H) without their sign and scale, and what was taken out (H,)."""
    taken = np.ones(a.shape[1])
    if activation in _ODD:
        direction = np.random.default_rng(0).normal(size=a.shape[0])  # any one that no column is orthogonal to
        taken = np.where(direction @ a < 0, -1.0, 1.0)
    if activation in _HOMOGENEOUS:
        norms = np.linalg.norm(a, axis=0)
        taken = taken * np.where(norms > 0, norms, 1.0)
    return a / taken, taken
