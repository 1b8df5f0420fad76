"""The embedding and the dense layers of a file, read by the names that an adapter has found for them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.reading import Reading
from rnnverify.around import NOTHING, Around, Dense, Embedding, Head
from rnnverify.canonical import Array
from rnnverify.containers.contents import StoredTensor
from rnnverify.errors import printable

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_MANY = 6  # dense layers beyond which no order is looked for


@dataclass(frozen=True)
class Names:
    """The names of the tensors of one dense layer; of an embedding, whose table is its kernel."""

    layer: str  # what the file calls the layer
    kernel: str
    bias: str = ""
    transposed: bool = False  # the kernel is kept as (O, F)
    activation: str = "linear"
    stated: bool = True  # False: the file does not say which activation it has


@dataclass(frozen=True)
class Surroundings:
    """What was found around a recurrent part, and how the framework is to run it."""

    around: Around = NOTHING
    head: tuple[Mapping[str, object], ...] = ()  # see `Recipe.head`
    tensors: Mapping[str, Array] = field(default_factory=dict)  # of the head
    roles: Mapping[str, str] = field(default_factory=dict)

    def beside(self, reading: Reading) -> Reading:
        """`reading` with them."""
        if self.around is NOTHING:
            return reading
        recipe = replace(reading.recipe, tensors={**reading.recipe.tensors, **self.tensors}, head=self.head)
        unused = {name: why for name, why in reading.unused.items() if name not in self.roles}
        roles = {**reading.roles, **self.roles}
        return replace(reading, around=self.around, recipe=recipe, roles=roles, unused=unused)


BARE = Surroundings()


def surroundings(
    tensors: Mapping[str, StoredTensor],
    embedding: Names | None,
    dense: Sequence[Names],
    input_size: int,
    output_size: int,
    by_shape: bool = False,
) -> Surroundings:
    """Those of a recurrent part that reads `input_size` features and gives `output_size`.

    What does not fit it in shape or type is left out, as it is of something else: an embedding whose rows it does not
    read, dense layers that do not feed each other. `by_shape` where nothing else says that the others belong to it.
    """
    table = embedding if embedding and _fits_table(tensors, embedding, input_size) else None
    layers = list(dense) if dense and _chains(tensors, dense, output_size) else []
    if table is None and not layers:
        return BARE
    roles: dict[str, str] = {}
    arrays: dict[str, Array] = {}
    made = []
    for names in layers:
        kernel = arrays[names.kernel] = _wide(tensors[names.kernel].read())
        O = kernel.shape[0 if names.transposed else 1]
        bias = np.zeros(O, kernel.dtype)
        if names.bias:
            bias = arrays[names.bias] = _wide(tensors[names.bias].read())
            roles[names.bias] = f"dense {printable(names.layer, 80)} bias"
        turned = " (transposed)" * names.transposed
        roles[names.kernel] = f"dense {printable(names.layer, 80)} kernel{turned}"
        shown = np.asarray(kernel.T if names.transposed else kernel)
        made.append(Dense(shown, bias, names.activation, printable(names.layer, 80), names.stated))
    read = None
    if table:
        read = Embedding(_wide(tensors[table.kernel].read()), printable(table.layer, 80))
        roles[table.kernel] = "embedding table"
    specs = tuple({"kernel": n.kernel, "bias": n.bias, "transposed": n.transposed} for n in layers)
    around = Around(read, Head(tuple(made)) if made else None, tuple(_told_by_shape(table, layers)) if by_shape else ())
    return Surroundings(around, specs, arrays, roles)


def only_chain(tensors: Mapping[str, StoredTensor], dense: Sequence[Names], output_size: int) -> list[Names]:
    """All of `dense` in the only order in which each reads what the one before gives; empty where there is no such."""
    if not 0 < len(dense) <= _MANY:
        return []
    orders = [order for order in itertools.permutations(dense) if _chains(tensors, order, output_size)]
    return list(orders[0]) if len(orders) == 1 else []


def _told_by_shape(embedding: Names | None, chain: Sequence[Names]) -> Iterator[str]:
    """The assumptions where nothing but shapes says which layer feeds which."""
    if embedding:
        yield f"{printable(embedding.layer, 80)} is taken for the embedding before it, by its shape"
    if chain:
        names = ", then ".join(printable(each.layer, 80) for each in chain)
        yield f"{names} {'is' if len(chain) == 1 else 'are'} taken for the dense layers behind it, by shape"


def known_activation(name: str) -> bool:
    """Whether a dense layer may have it: elementwise, or softmax."""
    return name == "softmax" or name in ACTIVATIONS


def _fits_table(tensors: Mapping[str, StoredTensor], names: Names, input_size: int) -> bool:
    tensor = tensors[names.kernel]
    return len(tensor.shape) == 2 and tensor.shape[1] == input_size and tensor.shape[0] > 0 and tensor.dtype in _FLOATS


def _chains(tensors: Mapping[str, StoredTensor], dense: Sequence[Names], output_size: int) -> bool:
    width = output_size
    for names in dense:
        sizes = sizes_of(tensors, names)
        if sizes is None or sizes[0] != width or not known_activation(names.activation):
            return False
        width = sizes[1]
    return True


def sizes_of(tensors: Mapping[str, StoredTensor], names: Names) -> tuple[int, int] | None:
    """(F, O) of a dense layer; None where its tensors are none of it."""
    kernel = tensors[names.kernel]
    if len(kernel.shape) != 2 or 0 in kernel.shape or kernel.dtype not in _FLOATS:
        return None
    F, O = kernel.shape[::-1] if names.transposed else kernel.shape
    bias = tensors[names.bias] if names.bias else None
    if bias is not None and (bias.shape != (O,) or bias.dtype not in _FLOATS):
        return None
    return F, O


def _wide(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float16 else array
