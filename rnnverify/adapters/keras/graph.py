"""What the GRUs and LSTMs of an exported Keras model compute: its SavedModel describes no layer, and holds their graph.

Keras 3 calls the variables of a cell `.../kernel`, `.../recurrent_kernel` and `.../bias`, with one number behind each
where there are several of that name (keras/src/export/saved_model.py, 3.0 to 3.15).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rnnverify.adapters.graph.keras import Shapes, find_keras, products_with
from rnnverify.adapters.graph.walk import TangledError
from rnnverify.adapters.tensorflow.names import Cell
from rnnverify.canonical import GATES, CellKind, Gating
from rnnverify.containers.contents import Contents
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_graph import Graph, read_graph
from rnnverify.containers.tf_tensors import read_shape
from rnnverify.errors import FileError, UnsupportedError, printable

SHOWN = "gates"
"""The key of `Contents.metadata` under which `with_gates` puts what it finds, for `formula_of`."""

_VARIABLE = re.compile(r"(?P<place>.+)/(?P<role>kernel|recurrent_kernel|bias)(?P<number>_\d{1,6})?")
_KINDS: Mapping[int, CellKind] = {len(GATES[kind]): kind for kind in ("gru", "lstm")}

Formula = tuple[str, Gating]
"""The activation of a cell, empty where it is none that is known, and its gates."""

_Place = tuple[str, tuple[int, ...]]
"""The names around a kernel in the graph, and its shape."""


def with_gates(contents: Contents) -> Contents:
    """`contents` with what the graph that belongs to it says of its cells."""
    path = contents.metadata.get("graph")
    if not isinstance(path, Path):
        return contents
    try:
        graph = read_graph(path)
        shapes = dict(_shapes(graph))
        cells = list(_cells(shapes))
        found = find_keras(graph, cells, shapes)
        used = products_with(graph)
    except (FileError, TangledError, MalformedError, IndexError):  # IndexError: an operation lacks an input
        return contents
    shown: dict[_Place, set[Formula | None]] = {}
    for cell in cells:
        (kernel,) = cell.variables["kernel"]
        if kernel in used:  # a model and its copies have variables of the same names, and one of them computes
            ways = found.get(kernel, set())
            formulas = {(w.activation, Gating(w.gate_activation, reset_after=w.reset_after is not False)) for w in ways}
            shown.setdefault((cell.scope, shapes[kernel]), set()).update(formulas or {None})
    return replace(contents, metadata={**contents.metadata, SHOWN: shown}) if shown else contents


def formula_of(contents: Contents, kernel: str) -> Formula | None:
    """The activation and the gates of the cell that has the weight `kernel`; None where no graph says it for certain.

    The graph has the names of all models around the cell before its own. Raises UnsupportedError where it shows that
    the cell computes something else.
    """
    shown = contents.metadata.get(SHOWN)
    place = kernel.rpartition("/")[0]
    if not isinstance(shown, dict) or not place or kernel not in contents.tensors:
        return None
    shape = contents.tensors[kernel].shape
    fitting = [found for (at, own), found in shown.items() if own == shape and f"/{at}".endswith(f"/{place}")]
    formulas = set[Formula | None]().union(*fitting)
    if any(formula and not formula[0] for formula in formulas):
        found = f"{printable(place)} computes something else than such a cell in the graph of the model"
        raise UnsupportedError(contents.path, found, "this version compares cells with the activations of Keras")
    return formulas.pop() if len(formulas) == 1 else None


def _shapes(graph: Graph) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The variables of the graph. VarHandleOp: AttrValue.shape = 7."""
    for node in graph.values():
        if node.op == "VarHandleOp":
            shape = read_shape(node.attribute("shape").message(7))
            if shape is not None:
                yield node.name, shape


def _cells(shapes: Shapes) -> Iterator[Cell]:
    """The cells with gates that variables of these names make up."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for name in shapes:
        if match := _VARIABLE.fullmatch(name):
            groups.setdefault((match["place"], match["number"] or ""), {})[match["role"]] = name
    for (place, _), named in groups.items():
        recurrent = shapes.get(named.get("recurrent_kernel", ""), ())
        if "kernel" not in named or len(recurrent) != 2 or not recurrent[0] or recurrent[1] % recurrent[0]:
            continue
        kind = _KINDS.get(recurrent[1] // recurrent[0])
        if kind:
            variables = {role: [name] for role, name in named.items()}
            yield Cell(place, place, kind=f"keras_{kind}", variables=variables)
