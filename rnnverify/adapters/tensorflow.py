"""TensorFlow 1: BasicRNNCell, and Keras' SimpleRNNCell driven by dynamic_rnn, as tf.train.Saver stores them.

BasicRNNCell has one kernel (I+H, H) over the concatenation [x, h] and one bias (H,): rows 0 to I-1 are for
the input (`_linear([inputs, state])`, tensorflow/python/ops/rnn_cell_impl.py, TensorFlow 0.12 to 2.21).
SimpleRNNCell has `kernel` (I, H), `recurrent_kernel` (H, H) and `bias` (H,). A checkpoint states no
activation: tanh is the default, where the graph that belongs to it is not at hand (`tensorflow_facts`).
"""

from __future__ import annotations

import numpy as np

from rnnverify.adapters.graph_recurrence import Recurrence
from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.adapters.tensorflow_facts import Facts, read_facts
from rnnverify.adapters.tensorflow_names import Cell, is_keras
from rnnverify.adapters.tensorflow_parts import LayerCells, select, stack
from rnnverify.adapters.tensorflow_remarks import assumptions, leftovers, notes
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.containers.contents import Contents
from rnnverify.containers.tf_frozen import FROZEN
from rnnverify.errors import FileError, UnsupportedError, printable

_SAVE_AGAIN = "save the checkpoint again"
_CONSTANTS = "a frozen graph holds constants, and its operations are not executed"


def read(contents: Contents, selector: str | None) -> Reading:
    """The part of a TensorFlow checkpoint that `selector` means: see `tensorflow_parts` for what it may be.

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
    known = [facts.of(cell, contents.tensors) for cells in layer_cells for cell in cells]
    stated = all(known)
    reader = _Reader(contents, facts, stated)
    layers = tuple(reader.layer(k, cells) for k, cells in enumerate(layer_cells))
    _check_chain(contents, layers, layer_cells)
    unused, not_compared = leftovers(contents, selection, reader.roles)
    narrow = sorted({printable(n) for n in reader.arrays if contents.tensors[n].dtype == "bfloat16"})
    return Reading(
        network=Network(layers),
        recipe=Recipe(
            framework="tensorflow",
            layers=tuple(reader.recipe(layer, cells) for layer, cells in zip(layers, layer_cells, strict=True)),
            tensors=reader.arrays,
            loadable=not narrow and contents.form != FROZEN,
            why_not=f"{narrow[0]} is bfloat16, which is run as float32" if narrow else _CONSTANTS,
        ),
        part=selection.selector,
        activation_stated=stated,
        roles=reader.roles,
        unused=unused,
        not_compared=not_compared,
        assumptions=assumptions(contents, facts, layer_cells, selection),
        notes=notes(contents, facts, layer_cells, selection),
    )


class _Reader:
    """Reads cells, and remembers every array with its place in the network."""

    def __init__(self, contents: Contents, facts: Facts, stated: bool) -> None:
        self._contents = contents
        self._facts = facts
        self._stated = stated  # every activation is known from the graph
        self.arrays: dict[str, Array] = {}  # by variable name, as stored
        self.roles: dict[str, str] = {}

    def layer(self, number: int, cells: LayerCells) -> Layer:
        directions = tuple(self._direction(f"layer {number}{' reverse' * bool(c.reverse)}", c) for c in cells)
        forward, *reverse = directions
        for other in reverse:
            if (other.input_size, other.hidden_size) != (forward.input_size, forward.hidden_size):
                there, here = (d.kernel.shape[1:] for d in (forward, other))
                found = f"{printable(cells[1].scope)} maps {here[0]} features to {here[1]} units, forward {there}"
                raise FileError(self._contents.path, found, "both directions must have the same sizes")
        known = [self._known(cell) for cell in cells]
        activations = {k.activation for k in known if k and self._stated} or {"tanh"}
        if len(activations) > 1:
            names = ", ".join(sorted(activations))
            found = f"the directions of {printable(cells[0].scope)} have other activations: {names}"
            raise UnsupportedError(self._contents.path, found, "this version compares layers with one activation")
        restored = not (forward.reverse and known[0]) or known[0].restored
        merge, _ = self._facts.merge(cells, self._contents.tensors) or ("concat", True)
        return Layer(directions, activations.pop(), merge=merge, time_restored=restored, name=cells[0].scope)

    def _known(self, cell: Cell) -> Recurrence | None:
        """What the graph says of `cell`. Raises `UnsupportedError` for what this version cannot compare."""
        known = self._facts.of(cell, self._contents.tensors)
        if known is None:
            return None
        scope = printable(cell.scope)
        if known.residual:
            found = f"{scope} has its input added to its output (ResidualWrapper)"
            raise UnsupportedError(self._contents.path, found, "this version compares cells without such a wrapper")
        if not known.activation:
            found = f"{scope} has an activation computed by {printable(', '.join(known.operations))}"
            raise UnsupportedError(self._contents.path, found, "which is none of the activations known")
        if cell.reverse is not None and known.reverse is not None and cell.reverse != known.reverse:
            way = "backward" if known.reverse else "forward"
            found = f"{scope} runs {way} in time in its graph, against its name"
            raise UnsupportedError(self._contents.path, found, "this version compares a forward and a backward cell")
        return known

    def recipe(self, layer: Layer, cells: LayerCells) -> dict[str, object]:
        """The variables of each cell by role, and where they differ from what dynamic_rnn and [x, h] make of them."""
        backward, merge = layer.directions[0].reverse, layer.merge
        flags = [{"state_first": True} if (k := self._known(cell)) and k.state_first else {} for cell in cells]
        return {
            **({"reverse": True, "time_restored": layer.time_restored} if backward else {}),
            **({"merge": merge} if merge != "concat" else {}),
            "input_size": layer.input_size,
            "hidden_size": layer.hidden_size,
            "directions": [
                {"kernel": None, "bias": None, **{role: names[0] for role, names in cell.variables.items()}, **flag}
                for cell, flag in zip(cells, flags, strict=True)
            ],
        }

    def _direction(self, where: str, cell: Cell) -> Direction:
        known = self._known(cell)
        kernel = self._matrix(cell, "kernel")
        H = kernel.shape[1]
        if "recurrent_kernel" in cell.variables:
            recurrent = self._matrix(cell, "recurrent_kernel")
            self._check_shape(cell, "recurrent_kernel", recurrent, (H, H))
            self._role(cell, "kernel", f"{where} kernel")
            self._role(cell, "recurrent_kernel", f"{where} recurrent kernel")
        else:
            if is_keras(cell):
                raise self._refused(f"{printable(cell.scope)} has no recurrent_kernel", _SAVE_AGAIN)
            inputs = len(kernel) - H
            if inputs < 1:
                found = f"{self._name(cell, 'kernel')} has shape {kernel.shape}: no row is left for the input"
                raise self._refused(found, "a BasicRNNCell has a kernel (I+H, H)")
            first, second = (0, inputs) if not (known and known.state_first) else (H, 0)
            rows = f"(rows {first}-{first + inputs - 1}) and recurrent kernel (rows {second}-{second + H - 1})"
            self._role(cell, "kernel", f"{where} kernel {rows}")
            kernel, recurrent = kernel[first : first + inputs], kernel[second : second + H]
        bias = self._bias(where, cell, H, kernel.dtype)
        return Direction(
            kernel=kernel[None],
            recurrent_kernel=recurrent[None],
            bias_input=bias[None],
            bias_recurrent=np.zeros_like(bias)[None],
            reverse=bool(known.reverse if known and cell.reverse is None else cell.reverse),
            has_bias="bias" in cell.variables,
        )

    def _bias(self, where: str, cell: Cell, H: int, dtype: np.dtype[np.generic]) -> Array:
        may_lack = is_keras(cell) or cell.by_graph  # use_bias=False; a BasicRNNCell always has one
        if may_lack and "bias" not in cell.variables:
            return np.zeros(H, dtype=dtype)
        bias = self._array(cell, "bias")
        self._check_shape(cell, "bias", bias, (H,))
        self._role(cell, "bias", f"{where} bias")
        return bias

    def _matrix(self, cell: Cell, role: str) -> Array:
        array = self._array(cell, role)
        if array.ndim != 2 or array.size == 0:
            found = f"{self._name(cell, role)} has shape {array.shape}"
            raise self._refused(found, "it must have two axes, none of them empty")
        return array

    def _array(self, cell: Cell, role: str) -> Array:
        names = cell.variables.get(role, [])
        if len(names) != 1:
            found = f"{printable(cell.scope)} has {'several tensors as' if names else 'no'} {role}"
            raise self._refused(found + (f" ({printable(', '.join(names))})" if names else ""), _SAVE_AGAIN)
        stored = self._contents.tensors[names[0]]
        if stored.dtype not in ("float16", "bfloat16", "float32", "float64"):
            found = f"{printable(names[0])} holds {stored.dtype}"
            raise self._refused(found, "weights must be float16, bfloat16, float32 or float64")
        array = stored.read()
        if not np.isfinite(array).all():
            found = f"{printable(names[0])} holds {int((~np.isfinite(array)).sum())} NaN or infinite values"
            raise self._refused(found, "choose a checkpoint from before the training diverged")
        self.arrays[names[0]] = array
        return array

    def _check_shape(self, cell: Cell, role: str, array: Array, wanted: tuple[int, ...]) -> None:
        if array.shape != wanted:
            found = f"{self._name(cell, role)} has shape {array.shape}"
            raise self._refused(found, f"with {wanted[0]} units it must have {wanted}")

    def _role(self, cell: Cell, role: str, text: str) -> None:
        self.roles[cell.variables[role][0]] = text

    def _name(self, cell: Cell, role: str) -> str:
        return printable(cell.variables[role][0])

    def _refused(self, found: str, advice: str) -> FileError:
        return FileError(self._contents.path, found, advice)


def _check_chain(contents: Contents, layers: tuple[Layer, ...], layer_cells: list[LayerCells]) -> None:
    for k in range(1, len(layers)):
        reads, below = layers[k].input_size, layers[k - 1].output_size
        if reads != below:
            kernel = printable(layer_cells[k][0].variables["kernel"][0])
            found = f"{kernel} (layer {k}) reads {reads} features, but layer {k - 1} has {below} outputs"
            raise FileError(contents.path, found, "choose parts that follow one another, or one part")
