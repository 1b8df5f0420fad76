"""The embedding before the cells of a TensorFlow 1 checkpoint, and the dense layers behind them.

tf.layers.dense has `dense/kernel` (F, O) and `dense/bias` (O,), OutputProjectionWrapper `weights` and `biases`, later
`kernel` and `bias` (tensorflow/python/ops/rnn_cell_impl.py, contrib/rnn/python/ops/core_rnn_cell.py); most are of the
user's own names: `softmax_w`, `softmax_b`, `embedding`. So shapes tell them: a matrix, and the vector that fits it and
has the name most like it. They are taken where that leaves one way, and no other variable of the model.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

from rnnverify.adapters.surroundings import BARE, Names, Surroundings, only_chain, surroundings, told_by_shape
from rnnverify.adapters.tensorflow_names import SHADOW, is_slot
from rnnverify.containers.contents import Contents

_WORDS = ("kernel", "weights", "weight", "Matrix", "embeddings")  # that name a variable of a layer, and no layer


def find(contents: Contents, recurrent: Collection[str], shadows: bool, sizes: tuple[int, int]) -> Surroundings:
    """What stands around the cells that have the variables `recurrent`; `sizes` are of their input and output.

    With `shadows`, of the moving averages. Nothing where that cannot be told.
    """
    shapes = {}
    for name, tensor in contents.tensors.items():
        own = name.endswith(SHADOW) if shadows else not is_slot(name, contents.tensors) and not name.endswith(SHADOW)
        if own and name not in recurrent and tensor.shape:
            shapes[name] = tensor.shape
    vectors = [name for name, shape in shapes.items() if len(shape) == 1]
    if any(len(shape) > 2 for shape in shapes.values()):
        return BARE
    tables: list[Names] = []
    dense: list[Names] = []
    for name, shape in shapes.items():
        if len(shape) != 2:
            continue
        bias = _bias_of(name, [each for each in vectors if shapes[each] == shape[1:]], shapes)
        names = Names(_layer(name), name, bias, stated=False)
        table = shape[1] == sizes[0] and not bias
        named = "emb" in name.lower()
        if table and sizes[0] == sizes[1] and not named:
            return BARE
        (tables if table else dense).append(names)
    used = [names.bias for names in dense if names.bias]
    chain = only_chain(contents.tensors, dense, sizes[1])
    if len(tables) > 1 or len(chain) != len(dense) or sorted(used) != sorted(vectors):
        return BARE
    embedding = tables[0] if tables else None
    return surroundings(contents.tensors, embedding, chain, *sizes, told_by_shape(embedding, chain))


def _bias_of(kernel: str, fitting: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The vector that is most like `kernel` in name, where no other matrix is more like it; empty for none."""
    best = max(fitting, key=lambda name: _likeness(kernel, name), default="")
    matrices = [name for name, shape in shapes.items() if len(shape) == 2 and shape[1:] == shapes.get(best)]
    closest = max(matrices, key=lambda name: _likeness(best, name), default="")
    return best if best and closest == kernel else ""


def _likeness(a: str, b: str) -> int:
    """How many characters both begin with."""
    return sum(1 for _ in itertools.takewhile(lambda both: both[0] == both[1], zip(a, b, strict=False)))


def _layer(name: str) -> str:
    """`dense/kernel` to `dense`, `softmax_w` as it is."""
    scope, _, last = name.removesuffix(SHADOW).rpartition("/")
    return scope if scope and last in _WORDS else name.removesuffix(SHADOW)
