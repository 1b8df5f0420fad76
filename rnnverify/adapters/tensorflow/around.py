"""The embedding before the cells of a TensorFlow 1 checkpoint, and the dense layers behind them.

Where the graph is at hand, it says which those are (`graph/around`). Elsewhere shapes tell: tf.layers.dense has
`dense/kernel` (F, O) and `dense/bias` (O,), OutputProjectionWrapper `weights` and `biases`, later `kernel` and `bias`
(tensorflow/python/ops/rnn_cell_impl.py, contrib/rnn/python/ops/core_rnn_cell.py); most are of the user's own names:
`softmax_w`, `softmax_b`, `embedding`. So a matrix goes with the vector that fits it and has the name most like it. They
are taken where that leaves one way, and no other variable of the model.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from rnnverify.adapters.graph.around import Found
from rnnverify.adapters.surroundings import Names, Surroundings, only_chain, surroundings
from rnnverify.adapters.tensorflow.names import SHADOW, is_slot, layer_name
from rnnverify.containers.contents import Contents

Told = tuple[Names | None, list[Names]]
"""An embedding, and dense layers in the order in which they feed each other."""


def find(
    contents: Contents, recurrent: Collection[str], shadows: bool, sizes: tuple[int, int], shown: Found | None
) -> Surroundings:
    """What stands around the cells that have the variables `recurrent`; `sizes` are of their input and output.

    With `shadows`, of the moving averages. `shown` is what the graph shows, and None where there is none: then nothing
    where shapes leave several ways.
    """
    if shown is None:
        table, chain = _by_shape(contents, recurrent, shadows, sizes)
        return surroundings(contents.tensors, table, chain, *sizes, by_shape=True)
    table = _averaged(contents, shown.embedding, shadows) if shown.embedding else None
    table = table if table and _is_held(contents, table) else None
    dense = (_averaged(contents, names, shadows) for names in shown.dense)
    return surroundings(
        contents.tensors, table, list(itertools.takewhile(lambda names: _is_held(contents, names), dense)), *sizes
    )


def _is_held(contents: Contents, names: Names) -> bool:
    """Whether the file has the variables of a layer: a graph may have more than were saved."""
    return names.kernel in contents.tensors and (not names.bias or names.bias in contents.tensors)


def _averaged(contents: Contents, names: Names, shadows: bool) -> Names:
    """The moving averages of a layer, where they are wanted and there."""

    def of(name: str) -> str:
        return name + SHADOW if shadows and name + SHADOW in contents.tensors else name

    return replace(names, kernel=of(names.kernel), bias=of(names.bias) if names.bias else "")


def _by_shape(contents: Contents, recurrent: Collection[str], shadows: bool, sizes: tuple[int, int]) -> Told:
    """What shapes and names tell; nothing where they leave several ways."""
    shapes = {}
    for name, tensor in contents.tensors.items():
        own = name.endswith(SHADOW) if shadows else not is_slot(name, contents.tensors) and not name.endswith(SHADOW)
        if own and name not in recurrent and tensor.shape:
            shapes[name] = tensor.shape
    vectors = [name for name, shape in shapes.items() if len(shape) == 1]
    if any(len(shape) > 2 for shape in shapes.values()):
        return None, []
    tables: list[Names] = []
    dense: list[Names] = []
    for name, shape in shapes.items():
        if len(shape) != 2:
            continue
        bias = _bias_of(name, [each for each in vectors if shapes[each] == shape[1:]], shapes)
        names = Names(layer_name(name), name, bias, stated=False)
        table = shape[1] == sizes[0] and not bias
        named = "emb" in name.lower()
        if table and sizes[0] == sizes[1] and not named:
            return None, []
        (tables if table else dense).append(names)
    used = [names.bias for names in dense if names.bias]
    chain = only_chain(contents.tensors, dense, sizes[1])
    if len(tables) > 1 or len(chain) != len(dense) or sorted(used) != sorted(vectors):
        return None, []
    return (tables[0] if tables else None), chain


def _bias_of(kernel: str, fitting: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The vector that is most like `kernel` in name, where no other matrix is more like it; empty for none."""
    best = max(fitting, key=lambda name: _likeness(kernel, name), default="")
    matrices = [name for name, shape in shapes.items() if len(shape) == 2 and shape[1:] == shapes.get(best)]
    closest = max(matrices, key=lambda name: _likeness(best, name), default="")
    return best if best and closest == kernel else ""


def _likeness(a: str, b: str) -> int:
    """How many characters both begin with."""
    return sum(1 for _ in itertools.takewhile(lambda both: both[0] == both[1], zip(a, b, strict=False)))
