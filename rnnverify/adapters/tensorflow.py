"""TensorFlow 1: BasicRNNCell, and Keras' SimpleRNNCell driven by dynamic_rnn, as tf.train.Saver stores them.

BasicRNNCell has one kernel (I+H, H) over the concatenation [x, h] and one bias (H,): rows 0 to I-1 are for
the input (`_linear([inputs, state])`, tensorflow/python/ops/rnn_cell_impl.py, TensorFlow 0.12 to 2.21).
SimpleRNNCell has `kernel` (I, H), `recurrent_kernel` (H, H) and `bias` (H,). A checkpoint states no
activation: tanh is the default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.adapters.tensorflow_names import SHADOW, Cell, find_cells, is_slot, shadowed
from rnnverify.adapters.tensorflow_parts import EMA, LayerCells, Selection, select, stack
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, UnsupportedError, printable

_SAVE_AGAIN = "save the checkpoint again"


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
    selection = select(contents, selector)
    layer_cells = [layer for name in selection.names for layer in stack(contents, name, selection.parts[name])]
    reader = _Reader(contents)
    layers = tuple(reader.layer(k, cells) for k, cells in enumerate(layer_cells))
    _check_chain(contents, layers, layer_cells)
    unused, not_compared = _leftovers(contents, selection, reader.roles)
    narrow = sorted({printable(n) for n in reader.arrays if contents.tensors[n].dtype == "bfloat16"})
    return Reading(
        network=Network(layers),
        recipe=Recipe(
            framework="tensorflow",
            layers=tuple(reader.recipe(layer, cells) for layer, cells in zip(layers, layer_cells, strict=True)),
            tensors=reader.arrays,
            loadable=not narrow,
            why_not=f"{narrow[0]} is bfloat16, which is run as float32" if narrow else "",
        ),
        part=selection.selector,
        activation_stated=False,
        roles=reader.roles,
        unused=unused,
        not_compared=not_compared,
        assumptions=_assumptions(layer_cells, selection),
        notes=_notes(contents, selection),
    )


class _Reader:
    """Reads cells, and remembers every array with its place in the network."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
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
        return Layer(directions, name=cells[0].scope)

    def recipe(self, layer: Layer, cells: LayerCells) -> dict[str, object]:
        return {
            "input_size": layer.input_size,
            "hidden_size": layer.hidden_size,
            "directions": [
                {"kernel": None, "bias": None, **{role: names[0] for role, names in cell.variables.items()}}
                for cell in cells
            ],
        }

    def _direction(self, where: str, cell: Cell) -> Direction:
        kernel = self._matrix(cell, "kernel")
        H = kernel.shape[1]
        if "recurrent_kernel" in cell.variables:
            recurrent = self._matrix(cell, "recurrent_kernel")
            self._check_shape(cell, "recurrent_kernel", recurrent, (H, H))
            self._role(cell, "kernel", f"{where} kernel")
            self._role(cell, "recurrent_kernel", f"{where} recurrent kernel")
        else:
            if _is_keras(cell):
                raise self._refused(f"{printable(cell.scope)} has no recurrent_kernel", _SAVE_AGAIN)
            inputs = len(kernel) - H
            if inputs < 1:
                found = f"{self._name(cell, 'kernel')} has shape {kernel.shape}: no row is left for the input"
                raise self._refused(found, "a BasicRNNCell has a kernel (I+H, H)")
            rows = f"(rows 0-{inputs - 1}) and recurrent kernel (rows {inputs}-{len(kernel) - 1})"
            self._role(cell, "kernel", f"{where} kernel {rows}")
            kernel, recurrent = kernel[:inputs], kernel[inputs:]
        bias = self._bias(where, cell, H, kernel.dtype)
        return Direction(
            kernel=kernel[None],
            recurrent_kernel=recurrent[None],
            bias_input=bias[None],
            bias_recurrent=np.zeros_like(bias)[None],
            reverse=bool(cell.reverse),
            has_bias="bias" in cell.variables,
        )

    def _bias(self, where: str, cell: Cell, H: int, dtype: np.dtype[np.generic]) -> Array:
        if _is_keras(cell) and "bias" not in cell.variables:  # use_bias=False; a BasicRNNCell always has one
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


def _is_keras(cell: Cell) -> bool:
    return cell.scope.rpartition("/")[2].startswith("simple_rnn_cell")


def _check_chain(contents: Contents, layers: tuple[Layer, ...], layer_cells: list[LayerCells]) -> None:
    for k in range(1, len(layers)):
        reads, below = layers[k].input_size, layers[k - 1].output_size
        if reads != below:
            kernel = printable(layer_cells[k][0].variables["kernel"][0])
            found = f"{kernel} (layer {k}) reads {reads} features, but layer {k - 1} has {below} outputs"
            raise FileError(contents.path, found, "choose parts that follow one another, or one part")


def _leftovers(
    contents: Contents, selection: Selection, roles: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Why each tensor without a role was not compared, and what stands around the recurrent part."""
    shadows = selection.shadows
    parts = {n: cell for cell in find_cells(contents.tensors, shadows) for ns in cell.variables.values() for n in ns}
    followed = {shadowed(n, contents.tensors) for n in contents.tensors if n.endswith(SHADOW) and shadows}
    unused, around = {}, Counter[str]()
    for name in contents.tensors:
        if name in roles:
            continue
        if name.endswith(SHADOW) and not shadows:
            unused[name] = f"exponential moving average ({EMA} at the end of the selector takes it)"
        elif name in followed:
            unused[name] = "the moving average was selected in its place"
        elif name in parts:
            unused[name] = f"belongs to another recurrent part, {printable(parts[name].part)}"
            around[f"recurrent part {printable(parts[name].part)}"] += 1
        elif is_slot(name.removesuffix(SHADOW) if shadows else name, contents.tensors):
            unused[name] = "state of the optimizer or the trainer"
        else:
            unused[name] = "not part of a recurrent layer"
            around[printable(name.removesuffix(SHADOW).rpartition("/")[0] or name.removesuffix(SHADOW))] += 1
    return unused, tuple(f"{what} ({n} tensor{'s' * (n > 1)})" for what, n in around.items())


def _assumptions(layer_cells: list[LayerCells], selection: Selection) -> tuple[str, ...]:
    assumed = []
    if any(_is_keras(cells[0]) and cells[0].reverse is None for cells in layer_cells):
        assumed.append("Keras cells run forward in time: their names do not say it")
    if any(len(cells) == 2 for cells in layer_cells):
        assumed.append("the two directions are concatenated, forward first")
    if len(selection.names) > 1:
        assumed.append("each of the stacked parts reads every output of the one before")
    return tuple(assumed)


def _notes(contents: Contents, selection: Selection) -> tuple[str, ...]:
    if selection.shadows or not find_cells(contents.tensors, shadows=True):
        return ()
    averages = f"{printable(contents.path, 300)}#{selection.selector}{EMA}"
    return (f"the file also holds exponential moving averages of recurrent weights: {printable(averages, 400)}",)
