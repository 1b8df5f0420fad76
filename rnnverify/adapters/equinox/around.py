"""The Embedding before the cells of an Equinox file, and the Linear layers behind them: leaves without names.

Embedding has `weight` (V, E), Linear `weight` (O, F) and mostly `bias` (O,), one after the other
(equinox/nn/_embedding.py and _linear.py, 0.13.8). They are taken where shapes leave one way, and every other array of
the file belongs to them or to the cells. A matrix alone may be a table or a Linear without bias; where both fit, one
that stands before the cells is the table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from rnnverify.adapters.surroundings import BARE, Names, Surroundings, only_chain, surroundings
from rnnverify.containers.contents import Contents, StoredTensor

_FLOATS = ("float16", "bfloat16", "float32", "float64")

Way = tuple[Names | None, list[Names]]
"""An embedding, and the dense layers in the order in which they feed each other."""


def find(contents: Contents, recurrent: Collection[str], sizes: tuple[int, int]) -> Surroundings:
    """What stands around the cells, whose arrays are `recurrent`; `sizes` are of their input and output.

    Nothing where that cannot be told.
    """
    tensors = contents.tensors
    matrices = _matrices(tensors, recurrent)
    if matrices is None:
        return BARE
    ways = list(_ways(tensors, matrices, sizes))
    if len(ways) > 1:
        order = list(tensors)
        start = min(map(order.index, recurrent))
        alone = {kernel for kernel, bias in matrices if not bias and order.index(kernel) < start}
        ways = [way for way in ways if ({way[0].kernel} if way[0] else set()) == alone]
    if len(ways) != 1:
        return BARE
    ((table, chain),) = ways
    return surroundings(tensors, table, chain, *sizes, by_shape=True)


def _matrices(tensors: Mapping[str, StoredTensor], recurrent: Collection[str]) -> list[tuple[str, str]] | None:
    """The matrices that are of no cell, each with its bias, or an empty name; None where another array is left."""
    found: list[tuple[str, str]] = []
    behind = ""  # the matrix that the array before was
    for name, tensor in tensors.items():
        if name in recurrent:
            behind = ""
        elif len(tensor.shape) == 2 and tensor.dtype in _FLOATS:
            found.append((name, ""))
            behind = name
        elif behind and tensor.shape == tensors[behind].shape[:1] and tensor.dtype in _FLOATS:
            found[-1] = (behind, name)
            behind = ""
        elif tensor.shape:  # a number alone is a count, or a rate
            return None
    return found


def _ways(
    tensors: Mapping[str, StoredTensor], matrices: Sequence[tuple[str, str]], sizes: tuple[int, int]
) -> Iterator[Way]:
    """What all of `matrices` can be together: at most one of them the embedding, the others layers in a chain."""
    for table in (None, *[kernel for kernel, bias in matrices if not bias]):
        if table and tensors[table].shape[1] != sizes[0]:
            continue
        rest = [pair for pair in matrices if pair[0] != table]
        dense = [
            Names(f"Linear_{k}", kernel, bias, transposed=True, stated=False) for k, (kernel, bias) in enumerate(rest)
        ]
        chain = only_chain(tensors, dense, sizes[1])
        if chain or not dense:
            yield (Names("Embedding_0", table) if table else None), chain
