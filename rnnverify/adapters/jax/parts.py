"""The recurrent parts of a Flax or Equinox file, and which of them a selector means.

A part is a cell, a pair under nn.Bidirectional, or the numbered siblings (`SimpleCell_0`, `SimpleCell_1`; `layers/0`,
`layers/1`) that a parent makes in the order of their numbers. Nothing in the file says how siblings are connected:
they are taken for a stack where each reads as many features as the one below gives, else for pairs of a forward and a
backward cell where that fits. A selector names parts; `a+b` stacks them, `a,b` makes the directions of one layer.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rnnverify.adapters.jax.cell import Cell
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, SelectorError, printable

_NUMBERED = re.compile(r"(.*?)_?(\d{1,6})", re.DOTALL)
_MANY = 6  # parts beyond which no order is proposed

LayerCells = tuple[Cell, ...]  # one cell, or forward then backward


@dataclass(frozen=True)
class Part:
    """One or more layers of a file, bottom to top."""

    layers: tuple[LayerCells, ...]

    @property
    def name(self) -> str:
        """The selector that means this part."""
        return "+".join(",".join(dict.fromkeys(cell.name for cell in cells)) for cells in self.layers)

    @property
    def inputs(self) -> int:
        return self.layers[0][0].sizes[0]

    @property
    def outputs(self) -> int:
        return sum(cell.sizes[1] for cell in self.layers[-1])

    @property
    def assembled(self) -> bool:
        """Whether names alone do not say how its cells are connected."""
        return len(self.layers) > 1 or any(not cell.side for cell in self.layers[0][1:])


def select(contents: Contents, cells: Sequence[Cell], selector: str | None) -> Part:
    """The layers of `cells` that `selector` means; None: the only part. SelectorError where the choice is not clear."""
    path = contents.path
    units = _units(contents, cells)
    parts = list(_parts(units))
    if selector is None:
        if len(parts) > 1:
            raise SelectorError(path, f"holds {len(parts)} recurrent parts", f"choose one: {_choices(contents, parts)}")
        return parts[0]
    known = {part.name: part for part in (*units, *parts)}
    if selector in known:
        return known[selector]
    return Part(tuple(layer for item in selector.split("+") for layer in _named(contents, known, parts, item)))


def _named(contents: Contents, known: dict[str, Part], parts: Sequence[Part], item: str) -> tuple[LayerCells, ...]:
    """The layers that one item of a selector names; keys may be joined by dots too."""
    found = []
    for name in item.split(","):
        plain = name.replace(".", "/").strip("/").removeprefix("params/").removesuffix("/cell")
        if plain not in known:
            advice = f"choose one: {_choices(contents, parts)}"
            raise SelectorError(contents.path, f"has no recurrent part {printable(name) or 'without a name'}", advice)
        found.append(known[plain])
    if len(found) == 1:
        return found[0].layers
    if len(found) > 2 or any(len(part.layers) > 1 or len(part.layers[0]) > 1 for part in found):
        advice = "a layer has a forward cell and a backward one: FILE#forward,backward"
        raise SelectorError(contents.path, f"{printable(item)} is no pair of cells", advice)
    return ((found[0].layers[0][0], found[1].layers[0][0]),)


def _units(contents: Contents, cells: Sequence[Cell]) -> list[Part]:
    """Every cell as a part of its own, the two of an nn.Bidirectional as one."""
    layers: dict[tuple[str, ...], dict[str, Cell]] = {}
    for cell in cells:
        if cell.side in layers.setdefault(cell.place, {}):
            found = f"holds two cells in one place, {printable(cell.name) or 'the model itself'}"
            raise FileError(contents.path, found, "keep one of them: params, or what stands beside it")
        layers[cell.place][cell.side] = cell
    units = []
    for place, sides in layers.items():
        if ("" in sides and len(sides) > 1) or (len(sides) == 1 and "" not in sides):
            found = (
                f"{printable('/'.join(place)) or 'the model'} has {' and '.join(side or 'a cell' for side in sides)}"
            )
            raise FileError(contents.path, found, "an nn.Bidirectional has a forward_rnn and a backward_rnn")
        units.append(Part(((sides[""],) if "" in sides else (sides["forward_rnn"], sides["backward_rnn"]),)))
    return units


def _parts(units: Sequence[Part]) -> Iterator[Part]:
    """The units, numbered siblings put together where that fits."""
    groups: dict[tuple[object, ...], list[tuple[int, Part]]] = {}
    for k, unit in enumerate(units):
        place = unit.layers[0][0].place
        match = _NUMBERED.fullmatch(place[-1]) if place else None
        key: tuple[object, ...] = (place[:-1], match[1]) if match else (k,)
        groups.setdefault(key, []).append((int(match[2]) if match else 0, unit))
    for group in groups.values():
        siblings = [unit for _, unit in sorted(group, key=lambda each: each[0])]
        whole = next(filter(_chains, _arrangements(siblings)), None)
        yield from [whole] if whole else siblings


def _arrangements(siblings: Sequence[Part]) -> Iterator[Part]:
    """A stack in the order of the numbers; then every two as the directions of one layer."""
    layers = [layer for unit in siblings for layer in unit.layers]
    yield Part(tuple(layers))
    if len(layers) % 2 == 0 and all(len(cells) == 1 for cells in layers):
        pairs = [(a[0], b[0]) for a, b in zip(layers[::2], layers[1::2], strict=True)]
        if all(a.sizes == b.sizes and a.kind == b.kind for a, b in pairs):
            yield Part(tuple(pairs))


def _chains(part: Part) -> bool:
    """Whether every layer reads as many features as the one below gives."""
    singles = [Part((cells,)) for cells in part.layers]
    return all(below.outputs == above.inputs for below, above in itertools.pairwise(singles))


def _choices(contents: Contents, parts: Sequence[Part]) -> str:
    """What can be typed, ready to paste; a stack too, where the sizes allow exactly one order."""
    path = printable(contents.path, 300)
    lines = [
        f"{path}#{printable(part.name)} ({part.layers[0][0].kind[1]})" if part.name else f"{path}, without a selector"
        for part in parts[:20]
    ]
    if len(parts) > 20:
        lines.append(f"and {len(parts) - 20} more")
    if 1 < len(parts) <= _MANY:
        whole = [
            Part(tuple(layer for part in order for layer in part.layers)) for order in itertools.permutations(parts)
        ]
        fitting = [part for part in whole if _chains(part)]
        if len(fitting) == 1:
            lines.append(f"{path}#{printable(fitting[0].name)} (stacked in the only order that fits)")
    return ", ".join(lines)
