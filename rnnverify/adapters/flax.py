"""Flax's recurrent cells, linen and nnx, to canonical form.

The layouts are those of `flax_weights`. A tree of parameters states neither the activation nor what nn.RNN does with a
cell: whether it runs backwards, how the two of an nn.Bidirectional are merged (concatenated, unless told otherwise),
whether a SimpleCell adds its state to the sum (`residual`), and in what order cells follow one another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from rnnverify.adapters.flax_cells import Cell, cells_in
from rnnverify.adapters.flax_parts import LayerCells, Part, select
from rnnverify.adapters.flax_weights import Weights, read_weights
from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.canonical import Array, Layer, Network
from rnnverify.containers.contents import Contents
from rnnverify.containers.flax_names import keys_of
from rnnverify.errors import FileError, UnsupportedError, printable


def read(contents: Contents, selector: str | None) -> Reading:
    """The part of `contents` that `selector` names (`encoder`, a stack `a+b`, a pair `a,b`), in canonical form.

    Raises SelectorError where the choice is not clear, UnsupportedError for other cells, FileError for arrays that are
    missing, misshapen or not finite.
    """
    part = select(contents, selector)
    weights = [[read_weights(contents.path, c, reverse=d == 1) for d, c in enumerate(cells)] for cells in part.layers]
    _check(contents, part, weights)
    layers = tuple(
        Layer(tuple(each.direction for each in of_layer), cell=of_layer[0].cell, name=Part((cells,)).name)
        for cells, of_layer in zip(part.layers, weights, strict=True)
    )
    arrays = {name: array for of_layer in weights for each in of_layer for name, array in each.arrays.items()}
    roles = {
        name: f"layer {k}{' reverse' if d else ''} {role}"
        for k, of_layer in enumerate(weights)
        for d, each in enumerate(of_layer)
        for name, role in each.roles.items()
    }
    unused = _unused(contents, roles)
    return Reading(
        network=Network(layers),
        recipe=Recipe("flax", tuple(_recipe(*both) for both in zip(part.layers, layers, strict=True)), arrays),
        part=part.name,
        activation_stated=False,
        roles=roles,
        unused=unused,
        not_compared=tuple(_layers_around(contents, unused)),
        assumptions=tuple(_assumptions(part)),
        notes=tuple(_notes(contents, arrays)),
    )


def _check(contents: Contents, part: Part, weights: list[list[Weights]]) -> None:
    """Raise an error where the cells of a layer, or two layers, do not fit each other."""
    below, outputs = "", 0
    for cells, of_layer in zip(part.layers, weights, strict=True):
        shown = printable(Part((cells,)).name) or "the layer"
        if len({(cell.kind, cell.sizes) for cell in cells}) > 1:
            found = f"{shown} has a forward and a backward cell of other kinds or sizes"
            raise UnsupportedError(contents.path, found, "this version compares layers whose directions are alike")
        inputs = of_layer[0].direction.input_size
        if below and inputs != outputs:
            found = f"{shown} reads {inputs} features, but {below} gives {outputs}"
            raise FileError(contents.path, found, "stack parts from the input up, separated by +")
        below, outputs = shown, sum(each.direction.hidden_size for each in of_layer)


def _recipe(cells: LayerCells, layer: Layer) -> Mapping[str, object]:
    """What the runner makes of one layer: one nn.RNN, or an nn.Bidirectional of two, with the file's own arrays."""
    api, name = cells[0].kind
    return {
        "api": api,
        "cell": name,
        "input_size": layer.input_size,
        "hidden_size": layer.hidden_size,
        "merge": layer.merge,
        "reverse": layer.directions[0].reverse,
        "keep_order": layer.time_restored,
        "directions": [{key: tensor.name for key, tensor in cell.weights.items()} for cell in cells],
    }


def _unused(contents: Contents, roles: Mapping[str, str]) -> dict[str, str]:
    """Every array that has no role, and why."""
    owner = {tensor.name: "/".join(cell.place) for cell in cells_in(contents) for tensor in cell.weights.values()}
    return {
        name: f"belongs to the part {printable(owner[name]) or 'without a name'}, not selected"
        if name in owner
        else "no weight of a recurrent cell"
        for name in contents.tensors
        if name not in roles
    }


def _layers_around(contents: Contents, unused: Mapping[str, str]) -> Iterator[str]:
    """The modules that hold the other arrays, with their number: `Dense_0 (2 arrays)`."""
    recurrent = {tensor.name for cell in cells_in(contents) for tensor in cell.weights.values()}
    holders = Counter("/".join(keys_of(name)[:-1]).removeprefix("params/") for name in unused if name not in recurrent)
    for holder, count in holders.items():
        if holder:
            yield f"{printable(holder)} ({count} array{'s' if count > 1 else ''})"


def _assumptions(part: Part) -> Iterator[str]:
    if part.assembled:
        order = ", then ".join(_words(cells) for cells in part.layers)
        yield f"{order}: the file does not say how cells are connected (PATH#a+b stacks them, PATH#a,b makes a pair)"
    if any(len(cells) == 2 for cells in part.layers):
        yield "the outputs of both directions are concatenated: merge_fn is not in the file"
    if any(cell.kind[1] == "SimpleCell" for cells in part.layers for cell in cells):
        yield "residual=False: whether a SimpleCell adds its state to the sum is not in the file"


def _words(cells: tuple[Cell, ...]) -> str:
    return " and ".join(printable("/".join(cell.place), 80) or "the cell" for cell in cells) + (
        " as forward and backward" if len(cells) == 2 and not cells[0].side else ""
    )


def _notes(contents: Contents, arrays: Mapping[str, Array]) -> Iterator[str]:
    dtypes = {contents.tensors[name].dtype for name in arrays}
    if "bfloat16" in dtypes:
        yield "weights are stored as bfloat16 and read as the float32 of equal value"
    if len(dtypes) > 1:
        yield f"weights are stored in several dtypes: {', '.join(sorted(dtypes))}"
