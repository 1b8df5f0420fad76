"""Where every number of a network stands in its file: the file read once more, with places where the values were.

What an adapter does to the arrays of a file (gates cut apart and put in order, matrices turned, numbers negated), it
does to places just as well. So the adapters stay the only ones that know a layout, and this holds for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from rnnverify.adapters import read_network
from rnnverify.canonical import Array, Direction
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.onnx_graph import OnnxGraph
from rnnverify.errors import RnnverifyError
from rnnverify.sides import Opened

_FIRST = 2**40
"""The number of the first place: larger than any constant that an adapter adds, small enough for float64."""

_LARGEST_ADDED = 2**20
"""What is larger, and no place, was computed from places."""

_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Origins:
    """The numbers of a file, counted from 1 on, tensor after tensor, and which of them a network is made of."""

    names: tuple[str, ...]  # of the tensors that were read
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]  # of NumPy, in which they are read
    starts: Array  # (tensors + 1,) int64: the first place of each, and of what would follow
    values: Array  # (1 + numbers,) by place; nothing stands at 0
    directions: tuple[Mapping[str, Array], ...]
    """Of each direction the tensors of `Direction.tensors` by name, int64: at which place of the file a number stands,
    negative where it is negated, 0 where it is no number of the file. A tensor that was computed is left out."""

    def at(self, places: Array) -> Array:
        """The numbers at `places`, negated where these are negative; 0 at none."""
        return np.asarray(np.sign(places) * self.values[np.abs(places)])

    def holders(self, places: Array) -> dict[str, None]:
        """The tensors in which `places` are, by name, each once, in the order of the file."""
        found = np.unique(np.searchsorted(self.starts, np.unique(np.abs(places[places != 0])), side="right") - 1)
        return dict.fromkeys(self.names[k] for k in found)


def origins(side: Opened) -> Origins | None:
    """The places of what `side` was read as; None for a trace, and where reading it once more takes another way."""
    if side.contents is None or side.reading is None:
        return None
    count = _Count()
    contents = count.numbered(side.contents)
    try:
        read = read_network(contents, side.source.framework, side.source.selector)
    except RnnverifyError:  # what is read depends on the values
        return None
    numbered, own = ([d for _, _, d in r.network.directions()] for r in (read, side.reading))
    stored = [tensor.read().ravel() for tensor in count.tensors]
    values = np.concatenate([np.zeros(1, np.result_type(*stored)), *stored])
    if len(numbered) != len(own):
        return None
    return Origins(
        tuple(tensor.name for tensor in count.tensors),
        tuple(tensor.shape for tensor in count.tensors),
        tuple("float32" if tensor.dtype == "bfloat16" else tensor.dtype for tensor in count.tensors),
        np.array(count.starts, np.int64),
        values,
        tuple(_places(*both, values) for both in zip(numbered, own, strict=True)),
    )


@dataclass
class _Count:
    """Numbers tensors as they are read."""

    tensors: list[StoredTensor] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [1])
    first: dict[str, int] = field(default_factory=dict)  # place of each

    def numbered(self, contents: Contents) -> Contents:
        """`contents` with places in every tensor of floating-point numbers."""
        graph = contents.metadata.get("graph")
        metadata = contents.metadata
        if isinstance(graph, OnnxGraph):  # whose constants are tensors of the file, too
            constants = {name: self._counted(tensor) for name, tensor in graph.constants.items()}
            metadata = {**metadata, "graph": replace(graph, constants=constants)}
        tensors = {name: self._counted(tensor) for name, tensor in contents.tensors.items()}
        return replace(contents, tensors=tensors, metadata=metadata)

    def _counted(self, tensor: StoredTensor) -> StoredTensor:
        if tensor.dtype not in _FLOATS:
            return tensor

        def read() -> Array:
            size = int(np.prod(tensor.shape))
            if tensor.name not in self.first:
                self.first[tensor.name] = self.starts[-1]
                self.tensors.append(tensor)
                self.starts.append(self.starts[-1] + size)
            start = _FIRST + self.first[tensor.name]
            return np.arange(start, start + size, dtype=np.float64).reshape(tensor.shape)

        return replace(tensor, read=read)


@np.errstate(invalid="ignore")  # what was computed from places may be no number any more
def _places(numbered: Direction, own: Direction, values: Array) -> dict[str, Array]:
    """The places of every tensor of a direction, those left out whose numbers do not stand there."""
    found, named = {}, dict(own.tensors())
    for name, narrow in numbered.tensors():
        stored: Array | bool = True
        array = narrow.astype(np.float64, copy=False)
        if array.min() >= _FIRST:
            places = array.astype(np.int64) - _FIRST
            exact = bool((places + _FIRST == array).all())
        else:
            stored = np.abs(array) >= _FIRST
            added = array[~stored]  # a forget bias, or zeros where there is no bias
            places = np.where(stored, np.rint(np.sign(array) * (np.abs(array) - _FIRST)), 0).astype(np.int64)
            exact = bool((np.abs(places) + _FIRST == np.abs(array))[stored].all())
            exact &= not added.size or (name.startswith("bias") and float(np.abs(added).max()) < _LARGEST_ADDED)
        if not exact or name not in named or np.abs(places).max() >= len(values):
            continue
        same = np.sign(places) * values[np.abs(places)] == named[name]
        if bool(np.where(stored, same, True).all()):
            found[name] = places
    return found
