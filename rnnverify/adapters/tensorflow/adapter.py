"""TensorFlow 1: its recurrent cells, and those of Keras driven by dynamic_rnn, as tf.train.Saver stores them.

`vanilla` and `gates` have the layouts. A checkpoint states neither the activation nor the forget
bias: tanh and 1 are the defaults, where the graph that belongs to it is not at hand (`facts`).
"""

from __future__ import annotations

from dataclasses import replace

from rnnverify.adapters.graph.recurrence import Recurrence
from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.adapters.surroundings import BARE
from rnnverify.adapters.tensorflow import around as tensorflow_around
from rnnverify.adapters.tensorflow.arrays import Arrays
from rnnverify.adapters.tensorflow.facts import Facts, read_facts
from rnnverify.adapters.tensorflow.gated import gated_direction
from rnnverify.adapters.tensorflow.gates import LAYOUTS
from rnnverify.adapters.tensorflow.names import Cell, ordered
from rnnverify.adapters.tensorflow.open import (
    DEFAULT_FORGET_BIAS,
    all_add_forget_bias,
    assumed,
    default_clip,
    has_tanh,
    left_open,
    may_add_forget_bias,
)
from rnnverify.adapters.tensorflow.parts import LayerCells, select, stack
from rnnverify.adapters.tensorflow.remarks import assumptions, leftovers, notes
from rnnverify.adapters.tensorflow.vanilla import vanilla_direction
from rnnverify.canonical import Direction, Gating, Layer, Network
from rnnverify.containers.contents import Contents
from rnnverify.containers.tf_frozen import FROZEN
from rnnverify.errors import FileError, UnsupportedError, printable

_CONSTANTS = "a frozen graph holds constants, and its operations are not executed"


def read(contents: Contents, selector: str | None) -> Reading:
    """The part of a TensorFlow checkpoint that `selector` means: see `parts` for what it may be.

    Raises `SelectorError` where several parts could be meant or none is, `UnsupportedError` for other cells
    and for checkpoints of objects, `FileError` for weights that no cell can have.
    """
    if contents.framework == "keras" and contents.form.startswith("TensorFlow"):
        advice = "leave the prefix tf: out"
        raise UnsupportedError(contents.path, "holds a Keras model, not cells of TensorFlow 1", advice)
    if contents.metadata.get("is_object_graph"):
        advice = "give one of a Keras model, or save the variables with tf.compat.v1.train.Saver"
        found = "a checkpoint of objects (tf.train.Checkpoint) that are no Keras layers, which is not compared"
        raise UnsupportedError(contents.path, found, advice)
    facts = read_facts(contents)
    selection = select(contents, selector, facts)
    layer_cells = [layer for name in selection.names for layer in stack(contents, name, selection.parts[name])]
    cells = [cell for cells in layer_cells for cell in cells]
    unknown = [cell for cell in cells if not facts.of(cell, contents.tensors)]
    stated, opened = all(has_tanh(cell) for cell in unknown), left_open(cells, unknown)
    reader = _Reader(contents, facts, stated)
    layers = tuple(reader.layer(k, cells) for k, cells in enumerate(layer_cells))
    _check_chain(contents, layers, layer_cells)
    arrays = reader.arrays
    network, around = Network(layers), BARE
    if set(selection.names) == set(selection.parts):  # no part is left that they may belong to
        sizes = network.input_size, network.output_size
        shown = facts.around(layer_cells[0], layer_cells[-1], contents.tensors)
        around = tensorflow_around.find(contents, arrays.roles, selection.shadows, sizes, shown)
    unused, not_compared = leftovers(contents, selection, {**arrays.roles, **around.roles})
    narrow = sorted({printable(n) for n in arrays.read if contents.tensors[n].dtype == "bfloat16"})
    reading = Reading(
        network=network,
        recipe=Recipe(
            framework="tensorflow",
            layers=tuple(reader.recipe(layer, cells) for layer, cells in zip(layers, layer_cells, strict=True)),
            tensors=arrays.read,
            loadable=not narrow and contents.form != FROZEN,
            why_not=f"{narrow[0]} is bfloat16, which is run as float32" if narrow else _CONSTANTS,
        ),
        part=selection.selector,
        activation_stated=stated,
        roles=arrays.roles,
        unused=unused,
        not_compared=not_compared,
        assumptions=(*assumptions(contents, facts, layer_cells, selection), *assumed(unknown, opened)),
        notes=notes(contents, facts, layer_cells, selection),
        open=opened,
        adds_forget_bias=all_add_forget_bias(cells),
    )
    return around.beside(reading)


class _Reader:
    """Reads cells into layers, and remembers what of them the file leaves open."""

    def __init__(self, contents: Contents, facts: Facts, stated: bool) -> None:
        self._contents = contents
        self._facts = facts
        self._stated = stated  # every activation is known
        self.arrays = Arrays(contents)

    def layer(self, number: int, cells: LayerCells) -> Layer:
        read = [self._direction(f"layer {number}{' reverse' * bool(c.reverse)}", c) for c in cells]
        directions = tuple(direction for direction, _ in read)
        forward, *reverse = directions
        if len({cell.kind for cell in cells}) > 1:
            found = f"{cells[0].shown} and {cells[1].shown} are cells of two kinds"
            raise UnsupportedError(self._contents.path, found, "this version compares layers of one kind of cell")
        for other in reverse:
            sizes = [(d.input_size, d.hidden_size, d.state_size) for d in (forward, other)]
            if sizes[0] != sizes[1]:
                there, here = sizes
                found = f"{cells[1].shown} maps {here[0]} features to {here[1]} units, forward {there[:2]}"
                raise FileError(self._contents.path, found, "both directions must have the same sizes")
        known = [self._known(cell) for cell in cells]
        formulas = {
            (k.activation if k and self._stated else "tanh", k.cell_clip if k else default_clip(cell))
            for k, cell in zip(known, cells, strict=True)
        }
        if len(formulas) > 1:
            names = ", ".join(sorted(name + f" with a cell_clip of {clip:g}" * bool(clip) for name, clip in formulas))
            found = f"the directions of {cells[0].shown} compute differently: {names}"
            raise UnsupportedError(self._contents.path, found, "this version compares layers with one activation")
        if len({gating for _, gating in read}) > 1:
            found = f"the gates of {cells[0].shown} compute differently in its two directions"
            raise UnsupportedError(
                self._contents.path, found, "this version compares layers whose directions are alike"
            )
        activation, clip = formulas.pop()
        merge, _ = self._facts.merge(cells, self._contents.tensors) or ("concat", True)
        return Layer(
            directions,
            activation,
            cell=LAYOUTS[cells[0].kind].cell if cells[0].kind else "rnn",
            merge=merge,
            # the last layer of a backward stack hands its outputs on in the order of the input, and so may all of them
            time_restored=cells[0].apart or not (forward.reverse and known[0]) or known[0].restored,
            name=cells[0].scope,
            gating=replace(read[0][1], cell_clip=clip),
        )

    def _direction(self, where: str, cell: Cell) -> tuple[Direction, Gating]:
        known = self._known(cell)
        if cell.kind:
            direction, gating = gated_direction(self.arrays, cell, where, self.forget_bias(cell))
            if known:
                reset = gating.reset_after if known.reset_after is None else known.reset_after
                gating = replace(gating, activation=known.gate_activation, reset_after=reset)
        else:
            state_first = bool(known and known.state_first)
            direction, gating = vanilla_direction(self.arrays, cell, where, state_first), Gating()
        reverse = bool(known.reverse if known and cell.reverse is None else cell.reverse)
        return replace(direction, reverse=reverse), gating

    def forget_bias(self, cell: Cell) -> float:
        """What the graph says, or else the default of the cell."""
        known = self._known(cell)
        if known:
            return known.forget_bias
        return DEFAULT_FORGET_BIAS if may_add_forget_bias(cell) else 0.0

    def _known(self, cell: Cell) -> Recurrence | None:
        """What the graph says of `cell`. Raises `UnsupportedError` for what this version cannot compare."""
        known = self._facts.of(cell, self._contents.tensors)
        if known is None:
            return None
        if known.residual:
            found = f"{cell.shown} has its input added to its output (ResidualWrapper)"
            raise UnsupportedError(self._contents.path, found, "this version compares cells without such a wrapper")
        if not known.activation:
            operations = printable(", ".join(known.operations))
            if cell.kind:
                found = f"{cell.shown} computes something else than such a cell in its graph ({operations})"
                advice = "this version compares cells without proj_clip, dropout or normalisation inside"
                raise UnsupportedError(self._contents.path, found, advice)
            found = f"{cell.shown} has an activation computed by {operations}"
            raise UnsupportedError(self._contents.path, found, "which is none of the activations known")
        inside = cell.apart and cell.depth  # reads the cell below it, step by step
        if cell.reverse is not None and not inside and known.reverse not in (None, cell.reverse):
            way = "backward" if known.reverse else "forward"
            found = f"{cell.shown} runs {way} in time in its graph, against its name"
            raise UnsupportedError(self._contents.path, found, "this version compares a forward and a backward cell")
        return known

    def recipe(self, layer: Layer, cells: LayerCells) -> dict[str, object]:
        """The variables of each cell by role, and where they differ from what dynamic_rnn and [x, h] make of them."""
        backward, merge = layer.directions[0].reverse, layer.merge
        return {
            **({"reverse": True, "time_restored": layer.time_restored} if backward else {}),
            **({"merge": merge} if merge != "concat" else {}),
            **({"state_size": layer.state_size} if layer.state_size != layer.hidden_size else {}),
            "input_size": layer.input_size,
            "hidden_size": layer.hidden_size,
            "directions": [self._variables(cell) for cell in cells],
        }

    def _variables(self, cell: Cell) -> dict[str, object]:
        if cell.kind:
            word = cell.scope.rpartition("/")[2]
            return {"kind": cell.kind, "cell": word, **{role: ordered(names) for role, names in cell.variables.items()}}
        known = self._known(cell)
        named = {role: names[0] for role, names in cell.variables.items()}
        return {"kernel": None, "bias": None, **named, **({"state_first": True} if known and known.state_first else {})}


def _check_chain(contents: Contents, layers: tuple[Layer, ...], layer_cells: list[LayerCells]) -> None:
    for k in range(1, len(layers)):
        reads, below = layers[k].input_size, layers[k - 1].output_size
        if reads != below:
            kernel = printable(layer_cells[k][0].variables["kernel"][0])
            found = f"{kernel} (layer {k}) reads {reads} features, but layer {k - 1} has {below} outputs"
            raise FileError(contents.path, found, "choose parts that follow one another, or one part")
