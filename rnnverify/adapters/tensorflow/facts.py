"""What the graph of a TensorFlow checkpoint, or a frozen graph, says of the cells whose weights the file holds.

A checkpoint names arrays and nothing else. The graph beside it (`.meta`, saved_model.pb) has the activation, the order
in which a kernel's rows take input and state, and the direction in time. A graph that is damaged, or that belongs to
another checkpoint, is not used, and a note says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, takewhile
from pathlib import Path
from typing import cast

from rnnverify.adapters.graph.around import Found, find_around
from rnnverify.adapters.graph.gates import find_gated
from rnnverify.adapters.graph.keras import find_keras
from rnnverify.adapters.graph.recurrence import Recurrence, find_recurrences, merged, without_place
from rnnverify.adapters.graph.unnamed import find_unnamed
from rnnverify.adapters.graph.walk import TangledError
from rnnverify.adapters.tensorflow.names import SHADOW, Cell, find_cells, shadowed
from rnnverify.adapters.tensorflow.unnamed import unnamed_lstms
from rnnverify.canonical import Merge
from rnnverify.containers.contents import Contents
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_frozen import FROZEN
from rnnverify.containers.tf_graph import Graph, read_graph
from rnnverify.containers.tf_tensors import read_shape
from rnnverify.errors import FileError, printable

_KERAS_WAY = re.compile(r"(?P<part>.+)/(?P<way>forward|backward)_[^/]+(?:/[^/]*cell[^/]*)?")


@dataclass(frozen=True)
class Facts:
    """What a graph says, by the name of a cell's kernel."""

    recurrences: Mapping[str, Recurrence] = field(default_factory=dict)
    source: str = ""  # the graph, for notes; empty where there is none
    notes: tuple[str, ...] = ()
    graph: Graph | None = None  # where it shows any of the cells
    unnamed: Mapping[str, Cell] = field(default_factory=dict)  # by kernel, cells of Keras that no name tells

    def of(self, cell: Cell, names: Collection[str]) -> Recurrence | None:
        """What is known of `cell`, whose weights may be moving averages of the graph's variables."""
        found = self.recurrences.get(_plain(cell.variables.get("kernel", [""])[0], names))
        wanted = {_plain(name, names) for group in cell.variables.values() for name in group}
        return found if found and wanted == _variables(found) else None

    def merge(self, cells: Sequence[Cell], names: Collection[str]) -> tuple[Merge, bool] | None:
        """How two directions are merged, and whether the forward one comes first; None where it does not show."""
        known = [way for cell in cells if (way := self.of(cell, names))]
        return merged(*known) if len(known) == 2 else None

    def around(self, first: Sequence[Cell], last: Sequence[Cell], names: Collection[str]) -> Found | None:
        """What stands before the `first` cells and behind the `last` ones of a stack; None where no graph shows."""
        below, above = ([self.of(cell, names) for cell in cells] for cells in (first, last))
        if self.graph is None or not all(above):
            return None
        variables = {name for way in self.recurrences.values() for name in _variables(way)}
        try:
            return find_around(self.graph, [way for way in below if way], [way for way in above if way], variables)
        except (TangledError, IndexError):  # as in `read_facts`
            return None


def read_facts(contents: Contents) -> Facts:
    """What the graph that belongs to `contents` says of its cells; nothing where there is none that fits."""
    graph = contents.metadata.get("graph")
    if graph is None:
        return Facts()
    if isinstance(graph, Path):
        source = "the graph beside it" if graph.suffix == ".meta" else "its graph"
        try:
            graph = read_graph(graph)
        except FileError as error:
            return Facts(notes=(f"{source} was not used: {printable(error, 400)}",))
    else:
        source = "the graph"
    graph = cast(Graph, graph)
    try:
        named = find_cells(contents.tensors, shadows=False)
        unnamed = find_gated(graph, unnamed_lstms(contents.tensors, named))
        found = {kernel: ways for kernel, ways in unnamed.items() if all(way.activation for way in ways)}
        found |= {**find_recurrences(graph), **find_gated(graph, [cell for cell in named if cell.kind])}
        shapes = {name: tensor.shape for name, tensor in contents.tensors.items()}
        found |= find_keras(graph, named, shapes)
        told = {name for cell in named if "kernel" in cell.variables for name in chain(*cell.variables.values())}
        proved = list(find_unnamed(graph, shapes, {*told, *found})) if contents.form == FROZEN else []
        found |= {cell.variables["kernel"][0]: ways for cell, ways in proved}
    except (TangledError, IndexError):  # IndexError: an operation lacks an input that its kind needs
        return Facts(notes=(f"{source} was not used: it is too tangled to be read",))
    usable = {kernel: way for kernel, ways in found.items() if (way := _one(ways))}
    fitting = {kernel: way for kernel, way in usable.items() if all(_fits(graph, n, contents) for n in _variables(way))}
    notes = tuple(
        f"{source} uses {printable(kernel)} in several ways" for kernel, ways in found.items() if len(ways) > 1
    )
    if usable and not fitting:
        other = printable(next(iter(usable)))
        notes = (*notes, f"{source} was not used: it has other variables, or of other shapes, such as {other}")
    cells = {kernel: cell for cell, _ in proved if (kernel := cell.variables["kernel"][0]) in fitting}
    return Facts(fitting, source, notes, graph if fitting else None, cells)


def cells_of(contents: Contents, facts: Facts, shadows: bool) -> list[Cell]:
    """The cells of the file: those that names tell, and those that only the graph shows."""
    proved = {name for cell in facts.unnamed.values() for group in cell.variables.values() for name in group}
    cells = [
        cell for cell in find_cells(contents.tensors, shadows) if proved.isdisjoint(chain(*cell.variables.values()))
    ]
    claimed = {_plain(name, contents.tensors) for cell in cells for group in cell.variables.values() for name in group}
    unnamed = {cell.variables["kernel"][0]: cell for cell in unnamed_lstms(contents.tensors, cells)}
    for recurrence in facts.recurrences.values():
        if _variables(recurrence) & claimed:
            continue
        variables = {role: [name + SHADOW * shadows for name in group] for role, group in recurrence.variables.items()}
        if all(name in contents.tensors for group in variables.values() for name in group):
            scope = _scope(recurrence)
            cell = unnamed.get(recurrence.kernel) or Cell(scope, scope, alone=scope, by_graph=True)
            if recurrence.kernel in facts.unnamed:
                cell = replace(cell, kind=facts.unnamed[recurrence.kernel].kind)
            cells.append(replace(cell, variables=variables))
    for cell in cells:
        way = _KERAS_WAY.fullmatch(cell.scope)
        if way and facts.of(cell, contents.tensors):  # tf.keras.layers.Bidirectional, whose merge the graph shows
            cell.part, cell.reverse, cell.by_graph = way["part"], way["way"] == "backward", True
    return cells


def _one(ways: set[Recurrence]) -> Recurrence | None:
    """What all uses of a cell agree on; None where that leaves open what it computes."""
    first = min(ways, key=repr)
    if len(ways) == 1:
        return first
    if len({_computes(way) for way in ways}) > 1:
        return None
    return replace(without_place(first), reverse=None, residual=any(way.residual for way in ways))


def _computes(way: Recurrence) -> tuple[object, ...]:
    """All that decides what a step computes."""
    gates = way.gate_activation, way.reset_after, way.forget_bias, way.cell_clip
    return way.recurrent, way.biases, way.state_first, way.activation, *gates


def _fits(graph: Graph, name: str, contents: Contents) -> bool:
    """Whether the file has the variable `name`, in the shape that the graph gives it where it gives one."""
    if name not in contents.tensors:
        return False
    node = graph.get(name)
    if node is None or "shape" not in node.attributes:
        return True
    try:
        return read_shape(node.attribute("shape").message(7)) == contents.tensors[name].shape
    except MalformedError:
        return False


def _plain(name: str, names: Collection[str]) -> str:
    return shadowed(name, names) if name.endswith(SHADOW) else name


def _variables(recurrence: Recurrence) -> set[str]:
    return {name for group in recurrence.variables.values() for name in group}


def _scope(recurrence: Recurrence) -> str:
    """The scope that all variables of a cell share; the kernel's own name where they share none."""
    scopes = [name.split("/")[:-1] for name in _variables(recurrence)]
    shared = takewhile(lambda words: len(set(words)) == 1, zip(*scopes, strict=False))
    return "/".join(words[0] for words in shared) or recurrence.kernel
