"""A porting mistake that may have been made, and the networks that it would have made of a right one.

A hypothesis is a function whose docstring the user reads: its first line names the mistake, the rest is the advice,
of whose last lines each is for one framework.
It takes a network and what the other side shows, and yields networks: what the mistake makes of a right network, and,
where that can be told, what a network was before the mistake (`undo`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rnnverify.canonical import Array, CellKind, Direction, Layer, Network
from rnnverify.trace import Run


@dataclass(frozen=True)
class Seen:
    """What the other side shows: its weights where they are known, and what it did."""

    network: Network | None
    runs: tuple[Run, ...]
    dtype: str  # whose rounding its states may hold
    show: Callable[[Network], Network | None] | None = (
        None  # what its states show of weights that are not known, nearly
    )
    _shown: dict[object, Network | None] = field(default_factory=dict, repr=False, compare=False)

    def likely(self, network: Network) -> Network | None:
        """Its weights, or nearly its weights: those that it shows where its activations are those of `network`."""
        if self.network or self.show is None:
            return self.network
        layers = tuple((layer.activation, layer.merge, layer.time_restored) for layer in network.layers)
        key = layers, tuple(d.reverse for _, _, d in network.directions())
        if key not in self._shown:
            self._shown[key] = self.show(network)
        return self._shown[key]


Networks = Iterator[tuple[str, Network]]
"""Where the mistake sits ("" for everywhere it can), and the network that comes of it."""

Change = Callable[[Network, Seen], Networks]


@dataclass(frozen=True)
class Hypothesis:
    """One mistake: what it does to a network, and what undoes it; None where what it lost is in no file."""

    make: Change
    undo: Change | None
    in_pairs: bool = True  # whether it is cheap enough to be tried after every other

    @property
    def name(self) -> str:
        return words(self.make)[0]

    @property
    def advice(self) -> str:
        return words(self.make)[1]


def both_ways(change: Change, in_pairs: bool = True) -> Hypothesis:
    """A mistake that is its own inverse, or yields both itself and its inverse."""
    return Hypothesis(change, change, in_pairs)


def words(function: Callable[..., object]) -> tuple[str, str]:
    """The name in a docstring, on one line, and the advice: one line for all, then one for each framework."""
    name, _, advice = (inspect.getdoc(function) or "").partition("\n\n")
    return " ".join(name.split()), "\n".join(" ".join(line.split()) for line in _OWN.split(advice))


_SPELLED = {"keras": "Keras: ", "torch": "PyTorch: ", "tensorflow": "TensorFlow: "}
_OWN = re.compile(r"\n+(?=(?:Keras|PyTorch|TensorFlow): )")


def advice_for(framework: str, advice: str) -> str:
    """The lines of `advice` that are for everyone, or for `framework`, as one."""
    general, *own = advice.split("\n")
    wanted = _SPELLED.get(framework, "\n")
    return " ".join([general, *(line for line in own if line.startswith(wanted))])


def everywhere_and_apart(network: Network, change: Callable[[Network], Network | None]) -> Networks:
    """`change` in every layer and direction, then in each layer, each way and each direction alone."""
    changed = change(network)
    if changed is None:
        return
    pairs = side_by_side(network, changed)
    touched = {place for place, ours, theirs in pairs if ours is not theirs}
    parts = list(scopes(network))
    if touched:
        yield next((where for where, chosen in parts if touched == chosen), ""), changed
    for where, chosen in parts:
        if touched & chosen and not touched <= chosen:
            yield where, spliced(network, changed, chosen)


def everywhere_and_in_one_layer(
    network: Network, cells: Sequence[CellKind], change: Callable[[Layer], Layer]
) -> Networks:
    """`change` in every layer of one of `cells`, then in each of them alone; one that is handed back does not count."""
    changed = [change(layer) if layer.cell in cells else layer for layer in network.layers]
    places = [k for k, (a, b) in enumerate(zip(network.layers, changed, strict=True)) if a is not b]
    if places:
        yield ("" if len(places) == len(network.layers) else _layers(places)), replace(network, layers=tuple(changed))
    for k in places if len(places) > 1 else ():
        yield f"layer {k}", layered(network, k, changed[k])


def _layers(places: Sequence[int]) -> str:
    return ", ".join(f"layer {k}" for k in places)


def with_words(words: str, made: Networks) -> Networks:
    """`made`, with `words` about the mistake behind where it sits."""
    for where, network in made:
        yield (f"{where}: {words}" if where else words), network


Place = tuple[int, int]
"""Layer, and direction in it."""


def scopes(network: Network) -> Iterator[tuple[str, frozenset[Place]]]:
    """Parts of a network in which a mistake may have been made alone, the larger ones first."""
    places = [(k, j) for k, layer in enumerate(network.layers) for j in range(len(layer.directions))]
    several, both = len(network.layers) > 1, any(j for _, j in places)
    found: dict[frozenset[Place], str] = {}
    if both:
        for j, way in enumerate(("forward", "reverse")):
            found.setdefault(frozenset(p for p in places if p[1] == j), f"every {way} direction")
    if several:
        for k in range(len(network.layers)):
            found.setdefault(frozenset(p for p in places if p[0] == k), f"layer {k}")
    for place in places:
        found[frozenset([place])] = named(network, place)
    for chosen, where in found.items():
        if len(chosen) < len(places):
            yield where, chosen


def named(network: Network, place: Place) -> str:
    """Such as `layer 1`, or `layer 1 reverse`."""
    k, j = place
    if not network.layers[k].bidirectional:
        return f"layer {k}"
    return f"layer {k} {'reverse' if j else 'forward'}"


def spliced(network: Network, changed: Network, chosen: frozenset[Place]) -> Network:
    """`network` with the directions at `chosen` taken from `changed`."""
    layers = []
    for k, (ours, theirs) in enumerate(zip(network.layers, changed.layers, strict=True)):
        pairs = enumerate(zip(ours.directions, theirs.directions, strict=True))
        layers.append(replace(ours, directions=tuple(b if (k, j) in chosen else a for j, (a, b) in pairs)))
    return replace(network, layers=tuple(layers))


def placed(network: Network, place: Place, direction: Direction) -> Network:
    """`network` with `direction` at `place`."""
    k, j = place
    directions = list(network.layers[k].directions)
    directions[j] = direction
    return layered(network, k, replace(network.layers[k], directions=tuple(directions)))


def with_tensor(d: Direction, name: str, tensor: Array) -> Direction:
    """`d` with its `kernel` or `recurrent_kernel` replaced."""
    return replace(d, kernel=tensor) if name == "kernel" else replace(d, recurrent_kernel=tensor)


def with_tensors(d: Direction, tensors: Mapping[str, Array]) -> Direction:
    """`d` with the tensors of those names replaced."""
    changed: dict[str, Any] = dict(tensors)
    return replace(d, **changed)


def layered(network: Network, k: int, layer: Layer) -> Network:
    """`network` with `layer` as its layer k."""
    return replace(network, layers=(*network.layers[:k], layer, *network.layers[k + 1 :]))


def side_by_side(a: Network, b: Network) -> Iterator[tuple[Place, Direction, Direction]]:
    """The directions of two networks of the same shapes, with their place."""
    for k, (ours, theirs) in enumerate(zip(a.layers, b.layers, strict=True)):
        for j, pair in enumerate(zip(ours.directions, theirs.directions, strict=True)):
            yield (k, j), *pair


def touched(before: Network, after: Network) -> Iterator[str]:
    """What a mistake changed: tensors such as `layer 0 reverse kernel`, the two biases as one, and facts of a layer."""
    for k, (a, b) in enumerate(zip(before.layers, after.layers, strict=True)):
        yield from [f"layer {k} activation"] * (a.activation != b.activation)
        yield from [f"layer {k} formula"] * (a.formula != b.formula and a.activation == b.activation)
        yield from [f"layer {k} merge mode"] * (a.merge != b.merge)
        ways = [(layer.time_restored, [d.reverse for d in layer.directions]) for layer in (a, b)]
        yield from [f"layer {k} order of time"] * (ways[0] != ways[1])
    for (where, _, d), (_, _, e) in zip(before.directions(), after.directions(), strict=True):
        for name in ("kernel", "recurrent_kernel"):
            if not np.array_equal(getattr(d, name), getattr(e, name)):
                yield f"{where} {name.replace('_', ' ')}"
        if not (np.array_equal(d.bias_input, e.bias_input) and np.array_equal(d.bias_recurrent, e.bias_recurrent)):
            yield f"{where} bias"
        for name, mine, theirs in (("peephole", d.peephole, e.peephole), ("projection", d.projection, e.projection)):
            if mine is not theirs and not (mine is not None and theirs is not None and np.array_equal(mine, theirs)):
                yield f"{where} {name}"
