"""The recurrent parts of a TensorFlow 1 checkpoint, and which of them a selector means.

A part is one dynamic_rnn, bidirectional_dynamic_rnn or stack of them, named by its scope; where a MultiRNNCell runs in
each direction, the two stacks are parts, with `/fw` and `/bw` behind the scope. A selector is that
scope, or an outer scope that holds one part only; `a+b` stacks parts, the first one below; `:ema` or `#ema` at the
end, or `ema` alone, takes the exponential moving averages in place of the variables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations

from rnnverify.adapters.tensorflow.facts import Facts, cells_of
from rnnverify.adapters.tensorflow.gates import LAYOUTS
from rnnverify.adapters.tensorflow.names import SHADOW, Cell
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.errors import FileError, SelectorError, UnsupportedError, printable

EMA = ":ema"
_MOST_LISTED = 8
_MOST_CHAINED = 6  # orders of more parts than these are not tried

_COMPARED = "the cells of TensorFlow 1 that are LSTMs or GRUs, and BasicRNNCell"

Parts = Mapping[str, Sequence[Cell]]
LayerCells = tuple[Cell, ...]  # one cell, or forward then reverse


@dataclass(frozen=True)
class Selection:
    """What a selector means: names of parts, bottom to top, and whether it means their moving averages."""

    names: tuple[str, ...]
    parts: Parts  # every part of the checkpoint, selected or not
    shadows: bool

    @property
    def selector(self) -> str:
        return "+".join(self.names) + EMA * self.shadows


def select(contents: Contents, selector: str | None, facts: Facts) -> Selection:
    """The parts that `selector` means; None: the only part. Raises `SelectorError` or `UnsupportedError`."""
    wanted = selector or ""
    if wanted == "ema" and all(cell.part != "ema" for cell in cells_of(contents, facts, shadows=False)):
        wanted = EMA
    shadows = wanted.endswith((EMA, "#ema"))
    wanted = wanted.removesuffix(EMA).removesuffix("#ema")
    parts: dict[str, list[Cell]] = {}
    for cell in cells_of(contents, facts, shadows):
        parts.setdefault(cell.part, []).append(cell)
    readable = [name for name, cells in parts.items() if not all(cell.gated for cell in cells)]
    if not parts or not (readable or wanted):
        raise _nothing(contents, parts, shadows, cells_of(contents, facts, not shadows))
    if not wanted and len(readable) > 1:
        advice = _advice(contents, parts, readable, shadows)
        raise SelectorError(contents.path, "it holds several recurrent parts", advice)
    items = wanted.split("+") if wanted else readable
    names = tuple(_named(contents, parts, item, shadows) for item in items)
    if len(set(names)) < len(names):
        raise SelectorError(contents.path, f"{printable(wanted)} names a part twice", "name each part once")
    return Selection(names, parts, shadows)


def stack(contents: Contents, name: str, cells: Sequence[Cell]) -> list[LayerCells]:
    """The layers of one part, bottom to top. Raises `FileError` where one is missing, `UnsupportedError` by
    name.
    """
    for cell in cells:
        _refuse_unsupported(contents, cell)
    two_way = any(cell.reverse is not None and not cell.apart for cell in cells)
    ways = (False, True) if two_way else (bool(cells[0].apart and cells[0].reverse),)
    deepest, highest = max(cell.depth for cell in cells), max(cell.level for cell in cells)
    at = {cell.spot: cell for cell in cells}
    layers = []
    for level in range(highest + 1):
        for depth in range(deepest + 1):
            spots = [(level, depth, reverse) for reverse in ways]
            for spot in spots:
                if spot not in at:
                    which = ("backward " if spot[2] else "forward ") * (two_way or cells[0].apart)
                    found = f"the {which}cell of layer {level + depth} of {printable(name)} is missing"
                    raise FileError(contents.path, found, "save the checkpoint with all its variables")
            layers.append(tuple(at[spot] for spot in spots))
    return layers


def sizes(cell: Cell, tensors: Mapping[str, StoredTensor]) -> tuple[int, int] | None:
    """How many features a cell reads and emits, as its shapes say; None where they say nothing sound."""
    shape, projection = (_shape(cell, role, tensors) for role in ("kernel", "projection"))
    if shape is None or len(shape) != 2:
        return None
    if cell.kind:
        found = LAYOUTS[cell.kind].sizes(shape, projection)
        return found[:2] if found else None
    rows, H = shape
    inputs = rows if "recurrent_kernel" in cell.variables else rows - H
    return (inputs, H) if inputs > 0 and H > 0 else None


def _shape(cell: Cell, role: str, tensors: Mapping[str, StoredTensor]) -> tuple[int, ...] | None:
    """The shape of all shards of that role together."""
    shapes = [tensors[name].shape for name in cell.variables.get(role, ())]
    if not shapes or not all(shapes):
        return None
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def _refuse_unsupported(contents: Contents, cell: Cell) -> None:
    lower = cell.scope.lower()
    if cell.gated:
        found = f"{cell.shown} is a cell with gates ({printable(cell.gated)})"
        raise UnsupportedError(contents.path, found, f"this version compares {_COMPARED}")
    for word in ("attention", "highway"):
        if any(word in part and "wrapper" in part for part in lower.split("/")):
            found = f"{printable(cell.scope)} is wrapped ({word}), which changes the recurrence"
            raise UnsupportedError(contents.path, found, "this version compares cells without such a wrapper")
    if (
        not cell.by_graph
        and any(word.startswith(("forward_", "backward_")) for word in lower.split("/"))
        and "bidirectional" in lower
    ):
        found = f"{printable(cell.scope)} is one direction of a Keras Bidirectional layer"
        raise UnsupportedError(contents.path, found, "save the Keras model as .keras or .h5 and compare that")
    if cell.nested:
        found = f"{printable(cell.scope)} is a MultiRNNCell inside another"
        raise UnsupportedError(contents.path, found, "this version compares a single MultiRNNCell")


def _named(contents: Contents, parts: Parts, item: str, shadows: bool) -> str:
    item = item.strip("/")
    if item in parts:
        return item
    inside = [name for name in parts if item and name.startswith(item + "/")]
    if len(inside) == 1:
        return inside[0]
    found = (
        f"{printable(item)} holds several recurrent parts" if inside else f"no recurrent part is {printable(item)!r}"
    )
    raise SelectorError(contents.path, found, _advice(contents, parts, inside or list(parts), shadows))


def _advice(contents: Contents, parts: Parts, names: Sequence[str], shadows: bool) -> str:
    """What can be pasted in place of the path, the whole stack too where the sizes allow one order only."""
    shown = list(names[:_MOST_LISTED])
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    chains = _chains(contents, parts, names)
    if len(chains) == 1:
        shown.append("+".join(chains[0]))
    path = printable(contents.path, 300)
    listed = ", ".join(f"{path}#{printable(name)}{EMA * shadows}" for name in shown)
    averages = any(name.endswith(SHADOW) for name in contents.tensors) and not shadows
    return f"give one of {listed}{more}" + f" ({EMA} at the end takes the moving averages)" * averages


def _chains(contents: Contents, parts: Parts, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Every order in which each part's output is as wide as the next one's input."""
    if not 2 <= len(names) <= _MOST_CHAINED:
        return []
    ends: dict[str, tuple[int, int]] = {}
    for name in names:
        try:
            layers = stack(contents, name, parts[name])
        except FileError:
            return []
        below, above = sizes(layers[0][0], contents.tensors), sizes(layers[-1][0], contents.tensors)
        if below is None or above is None:
            return []
        ends[name] = below[0], above[1] * len(layers[-1])
    return [order for order in permutations(names) if all(ends[a][1] == ends[b][0] for a, b in pairwise(order))]


def _nothing(contents: Contents, parts: Parts, shadows: bool, others: Sequence[Cell]) -> FileError:
    if parts:
        cells = sorted({cell.gated for group in parts.values() for cell in group})
        found = f"its recurrent cells have gates ({printable(', '.join(cells))})"
        return UnsupportedError(contents.path, found, f"this version compares {_COMPARED}")
    if others and shadows:
        return SelectorError(contents.path, "it holds no moving averages of a recurrent cell", f"leave {EMA} out")
    if others:
        advice = f"give {printable(contents.path, 300)}#{printable(others[0].part)}{EMA}"
        return SelectorError(contents.path, "of its recurrent cells it holds only the moving averages", advice)
    names = list(contents.tensors)
    held = printable(", ".join(names[:_MOST_LISTED])) + ("..." if len(names) > _MOST_LISTED else "")
    found = f"it holds no recurrent cell, only {held}" if names else "it holds no variables"
    return SelectorError(contents.path, found, "give a checkpoint of a recurrent network")
