"""Every layer that a weights-only Keras file holds, recurrent or not, in the order that the file gives.

Sources: groups with `weight_names` of Keras 0.3-2.15 (`save_weights_to_hdf5_group`), groups `layers/<class>[_n]` and
attributes of subclassed models of Keras 3 (`_walk_saveable` in keras/src/saving/saving_lib.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from rnnverify.adapters.keras.config import Address
from rnnverify.adapters.keras.names import CellNames, cells_in
from rnnverify.containers.contents import Contents
from rnnverify.errors import printable

# dense_1_W:0, gru_1_U_h:0: Keras 1 has no group for a layer inside a nested model
_KERAS1 = re.compile(r"(.+?)_(?:[WUb]|gamma|beta|running_[a-z]+)(?:_[a-z0-9]+)?(?::0)?", re.DOTALL)
_NUMBERED = re.compile(r"(?:(.*)/)?vars/\d+", re.DOTALL)
_CELL = re.compile(r"/\w*cell(_\d+)?$")
_NO_LAYERS = ("optimizer/", "optimizer_weights/")
_SEED = "/seed_generator/"  # the state of a Dropout's random numbers


@dataclass(frozen=True)
class Listed:
    """A layer that has weights. `group` is where it lies in the file."""

    path: Address  # names of the models around it, then its own, as far as the file says
    group: str
    cells: tuple[CellNames, ...]  # none: the layer is not recurrent
    tensors: tuple[str, ...]  # all that it has

    @property
    def title(self) -> str:
        if self.cells:
            return f"recurrent layer {printable(self.path[-1])!r}"
        return f"{printable('/'.join(self.path))} ({len(self.tensors)} tensor{'s' * (len(self.tensors) > 1)})"

    @property
    def strays(self) -> tuple[str, ...]:
        """Weights that belong to none of its cells."""
        used = {name for cell in self.cells for name in cell.tensors.values()}
        return tuple(name for name in self.tensors if name not in used)

    @property
    def held_by_class(self) -> bool:
        """In a list of layers, where Keras 3 names groups by class and number; else the name is an attribute's."""
        return self.group.split("/")[-2:-1] == ["layers"]


def layers_in(contents: Contents) -> list[Listed]:
    """All layers with weights."""
    ordered = contents.metadata.get("layer_weights")
    return _by_list(contents, ordered) if isinstance(ordered, dict) else _by_group(contents)


def _by_list(contents: Contents, ordered: Mapping[str, list[str]]) -> list[Listed]:
    found = []
    for group, names in ordered.items():
        cells = [cell for cell in cells_in(names) if not _is_dense(contents, cell)]
        layers = _shared_out(names, cells, partial(_owner, group))
        for layer, tensors in layers.items():
            own = tuple(cell for cell in cells if cell.layer == layer)
            found.append(Listed(_named(group, layer, len(layers)), layer, own, tuple(tensors)))
    return found


def _shared_out(names: Iterable[str], cells: Iterable[CellNames], owner: Callable[[str], str]) -> dict[str, list[str]]:
    """{layer: names of its weights}: what is no cell's belongs to the layer that `owner` gives."""
    claimed = {name: cell.layer for cell in cells for name in cell.tensors.values()}
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(claimed.get(name) or owner(name), []).append(name)
    return layers


def _is_dense(contents: Contents, cell: CellNames) -> bool:
    """Keras 0.3 numbers the weights of any layer: this `recurrent kernel` is a bias."""
    recurrent = contents.tensors.get(cell.tensors.get("recurrent_kernel", ""))
    return recurrent is not None and len(recurrent.shape) == 1


def _owner(group: str, name: str) -> str:
    """The layer of a weight that is no cell's: `sequential/dense/kernel:0` to `sequential/dense`."""
    inside = name.removeprefix(f"{group}/")
    keras1 = _KERAS1.fullmatch(inside)
    if "/" in inside:
        return f"{group}/{inside.partition('/')[0]}"
    return f"{group}/{keras1[1]}" if keras1 else group


def _named(group: str, layer: str, members: int) -> Address:
    own = _CELL.sub("", layer).rpartition("/")[2]
    if own == group or (members == 1 and re.fullmatch(re.escape(group) + r"_\d+", own)):
        return (group,)
    return group, own


def _by_group(contents: Contents) -> list[Listed]:
    refused = contents.metadata.get("refused")
    names = [*contents.tensors, *(refused if isinstance(refused, dict) else ())]
    names = [n for n in names if _NUMBERED.fullmatch(n) and not n.startswith(_NO_LAYERS) and _SEED not in n]
    names.sort(key=_by_number)
    cells = [cell for cell in cells_in(names) if "/cell" in cell.outer]
    found: dict[Address, Listed] = {}
    for layer, tensors in _shared_out(names, cells, _place).items():
        path = _noted(contents, layer)
        path = (*layer.split("/"),) if path in found else path
        found[path] = Listed(path, layer, tuple(cell for cell in cells if cell.layer == layer), tuple(tensors))
    return [*found.values()]


def _by_number(name: str) -> list[tuple[str, int]]:
    """simple_rnn, simple_rnn_1, ..., simple_rnn_10: as Keras counts, not as the alphabet has them."""
    pieces = (re.fullmatch(r"(.*?)_?(\d*)", piece, re.DOTALL) for piece in name.split("/"))
    return [(piece[1], int(piece[2][:9] or 0)) if piece else ("", 0) for piece in pieces]


def _place(name: str) -> str:
    """`layers/attention/query_dense/vars/0` to `layers/attention`; all but the number where there is no such list."""
    pieces = name.split("/")[:-2]
    if "layers" not in pieces:
        return "/".join(pieces) or "vars"
    last = len(pieces) - pieces[::-1].index("layers")
    return "/".join(pieces[: last + 1])


def _noted(contents: Contents, layer: str) -> Address:
    """The user's names of the group `layers/sequential/layers/simple_rnn`, where Keras 3.6 and later noted them."""
    noted = contents.metadata.get("names")
    names = noted if isinstance(noted, dict) else {}
    pieces = layer.split("layers/")
    ends = ["layers/".join(pieces[: k + 1]).rstrip("/") for k in range(1, len(pieces))]
    return tuple(str(names.get(end) or end.rpartition("/")[2]) for end in ends) or (layer,)
