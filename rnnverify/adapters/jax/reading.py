"""A Flax or Equinox file in canonical form, whichever of both names its cells: what does not depend on the layout.

A tree of parameters states neither what drives a cell (whether it runs backwards, how two directions are merged) nor in
what order cells follow one another; Flax's states no activation either, nor whether a SimpleCell adds its state to the
sum (`residual`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from rnnverify.adapters.jax.cell import Cell
from rnnverify.adapters.jax.parts import LayerCells, Part, select
from rnnverify.adapters.jax.restate import BACKWARDS, MERGE
from rnnverify.adapters.jax.weights import Weights
from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.adapters.surroundings import BARE, Surroundings
from rnnverify.canonical import Array, Layer, Network
from rnnverify.containers.contents import Contents, FrameworkName
from rnnverify.containers.flax_names import keys_of
from rnnverify.errors import FileError, UnsupportedError, printable

ReadWeights = Callable[[Path, Cell, bool], Weights]
"""The weights of one cell, which runs backwards or not."""

Find = Callable[[Contents, Collection[str], tuple[int, int]], Surroundings]
"""What stands around the cells, whose arrays have these names; with their input and output sizes."""


def reading_of(
    contents: Contents,
    framework: FrameworkName,
    cells: Sequence[Cell],
    read: ReadWeights,
    find: Find,
    selector: str | None,
) -> Reading:
    """The part of `cells`, of the file of `contents`, that `selector` names. Raises as the `read` of an adapter."""
    part = select(contents, cells, selector)
    weights = [[read(contents.path, cell, d == 1) for d, cell in enumerate(of_layer)] for of_layer in part.layers]
    _check(contents, part, weights)
    layers = tuple(
        Layer(tuple(each.direction for each in of_layer), cell=of_layer[0].cell, name=Part((cells,)).name)
        for cells, of_layer in zip(part.layers, weights, strict=True)
    )
    gated = any(layer.cell != "rnn" for layer in layers)
    arrays = {name: array for of_layer in weights for each in of_layer for name, array in each.arrays.items()}
    roles = {
        name: f"layer {k}{' reverse' if d else ''} {role}"
        for k, of_layer in enumerate(weights)
        for d, each in enumerate(of_layer)
        for name, role in each.roles.items()
    }
    owner = {tensor.name: cell.name for cell in cells for tensor in cell.weights.values()}
    network, around = Network(layers), BARE
    if set(owner) <= set(roles):  # no cell is left that they may belong to
        around = find(contents, owner, (network.input_size, network.output_size))
    unused = {
        name: _why_unused(owner.get(name))
        for name in contents.tensors
        if name not in roles and name not in around.roles
    }
    reading = Reading(
        network=network,
        recipe=Recipe(framework, tuple(_recipe(*both) for both in zip(part.layers, layers, strict=True)), arrays),
        part=part.name,
        activation_stated=framework == "equinox",  # whose cells compute tanh and sigmoid, and nothing else
        roles=roles,
        unused=unused,
        not_compared=tuple(_layers_around(name for name in unused if name not in owner)),
        assumptions=tuple(_assumptions(part)),
        notes=tuple(_notes(contents, arrays)),
        open=frozenset({"gate_activation"} if framework == "flax" and gated else ()),  # Flax's cells take a gate_fn
    )
    return around.beside(reading)


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
    """What the runner makes of one layer: its cells, and what drives them, with the file's own arrays."""
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


def _why_unused(owner: str | None) -> str:
    if owner is None:
        return "no weight of a recurrent cell"
    return f"belongs to the part {printable(owner) or 'without a name'}, not selected"


def _layers_around(names: Iterator[str]) -> Iterator[str]:
    """The modules that hold the other arrays, with their number: `Dense_0 (2 arrays)`."""
    holders = Counter("/".join(keys_of(name)[:-1]).removeprefix("params/") for name in names)
    for holder, count in holders.items():
        if holder:
            yield f"{printable(holder)} ({count} array{'s' if count > 1 else ''})"


def _assumptions(part: Part) -> Iterator[str]:
    if part.assembled:
        order = ", then ".join(_words(cells) for cells in part.layers)
        yield f"the cells are {order}, in the order of their numbers (FILE#a+b stacks others, FILE#a,b makes a pair)"
    if any(len(cells) == 2 for cells in part.layers):
        yield f"{MERGE}concat"
    if any(len(cells) == 1 for cells in part.layers):
        yield f"{BACKWARDS}forward in time"
    if any(cell.kind[1] == "SimpleCell" for cells in part.layers for cell in cells):
        yield "residual=False"


def _words(cells: LayerCells) -> str:
    words = " and ".join(printable(name, 80) or "the cell" for name in dict.fromkeys(cell.name for cell in cells))
    return words + (" as forward and backward" if len(cells) == 2 and not cells[0].side else "")


def _notes(contents: Contents, arrays: Mapping[str, Array]) -> Iterator[str]:
    dtypes = {contents.tensors[name].dtype for name in arrays}
    if "bfloat16" in dtypes:
        yield "weights are stored as bfloat16 and read as the float32 of equal value"
    if len(dtypes) > 1:
        yield f"weights are stored in several dtypes: {', '.join(sorted(dtypes))}"
