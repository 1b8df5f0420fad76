"""Which tensors of a Keras file are the weights of which cell, told by their names.

Names of one cell, as (layer group)/(weight name):

    Keras 0.3        layer_0/param_0                      W, U, b by number                 keras/models.py
    Keras 1.x        rnn/rnn_W:0 rnn/rnn_U:0 rnn/rnn_b:0  forward_rnn_W, backward_rnn_W     keras/layers/wrappers.py
                     gru/gru_W_z:0 gru/gru_U_z:0 ...      of every gate                     keras/layers/recurrent.py
    Keras 2.0-2.3    rnn/rnn/kernel:0                     rnn/rnn/kernel_1:0 second cell    keras/engine/saving.py
    Keras 2.3.1      rnn/b'rnn/kernel:0'_2 second cell    bytes once taken for text         keras/engine/saving.py
    tf.keras 2.4     rnn/rnn/simple_rnn_cell/kernel:0     .../stacked_rnn_cells/simple_rnn_cell_1/kernel:0
    Keras 3 .h5      rnn/sequential/rnn/simple_rnn_cell/kernel, or rnn/kernel (3.0)         legacy/saving
    Keras 3 weights  layers/simple_rnn/cell/vars/0        by number                         saving/saving_lib.py
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from rnnverify.adapters.keras.cells import Cell
from rnnverify.adapters.keras.config import Placed
from rnnverify.adapters.keras.gates import APART, ROLES
from rnnverify.adapters.keras.layers import KerasLayer
from rnnverify.adapters.keras.told import by_shapes
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, printable

Directions = tuple[tuple[tuple[str, ...], ...], ...]

_IN_ORDER = (*ROLES, *(f"{role}_{gate}" for gates in APART.values() for gate in gates for role in ROLES))
_NAMED = re.compile(r"(?P<outer>(?:.*/)?)(?P<role>recurrent_kernel|kernel|bias)(?P<suffix>(?:_\d+)?)(?::0)?", re.DOTALL)
_KERAS1 = re.compile(r"(?P<outer>.+)_(?P<role>[WUb])(?P<gate>(?:_[zrhicfo])?)(?::0)?", re.DOTALL)
_BYTES = re.compile(r"b'([^']*?)(?::0)?'_(\d+)$")
_NUMBERED = re.compile(r"(?P<outer>.*/)(?:vars/(?P<role>[012])|param_(?P<number>\d{1,2}))", re.DOTALL)
_SHORT = dict(zip("WUb", ROLES, strict=True)) | dict(zip("012", ROLES, strict=True))

_CLASS = {"rnn": "simple_rnn_cell", "gru": "gru_cell", "lstm": "lstm_cell"}
_SIDE = re.compile(r"(forward|backward)_(?:.*)", re.DOTALL)
_CELL = re.compile(r"cell|(simple_rnn|gru|lstm)_cell(_\d+)?")


@dataclass(frozen=True)
class CellNames:
    """The weights of one cell in one direction: tensor names by role."""

    outer: str  # what the names have in common
    layer: str  # the same without cell and direction
    side: str  # "forward", "backward", or "" where the names do not say
    tensors: dict[str, str]

    @property
    def in_order(self) -> tuple[str, ...]:
        """kernel, recurrent kernel, and bias where there is one, of all gates or gate by gate: as Keras lists them."""
        return tuple(self.tensors[role] for role in _IN_ORDER if role in self.tensors)


def cells_in(names: Iterable[str]) -> list[CellNames]:
    """The cells among `names`, in their order. What has no kernel beside its recurrent kernel is none."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name in names:
        plain = _BYTES.sub(r"\1_\2", name)
        match = _NAMED.fullmatch(plain) or _NUMBERED.fullmatch(name) or _KERAS1.fullmatch(name)
        if match:
            parts = match.groupdict()
            role = parts.get("number") or _SHORT.get(parts["role"], parts["role"]) + (parts.get("gate") or "")
            key = (match["outer"].rstrip("/"), parts.get("suffix") or "")
            found.setdefault(key, {})[role] = name
    cells = ((outer, _by_role(tensors)) for (outer, _), tensors in found.items())
    return [CellNames(outer, *_layer_and_side(outer), tensors) for outer, tensors in cells if _is_cell(tensors)]


def _by_role(tensors: dict[str, str]) -> dict[str, str]:
    """Weights that Keras 0.3 numbered, by the roles that as many have; what has no role there is left out."""
    if not all(role.isdigit() for role in tensors):
        return tensors
    gates = next((each for each in APART.values() if len(tensors) == len(ROLES) * len(each)), "")
    roles = [f"{role}_{gate}" for gate in gates for role in ROLES] or ROLES
    return {role: tensors[str(k)] for k, role in enumerate(roles) if str(k) in tensors}


def _is_cell(tensors: Mapping[str, str]) -> bool:
    return any(
        all(f"{role}{gate}" in tensors for role in ROLES[:2] for gate in gates)
        for gates in ([""], *([f"_{gate}" for gate in each] for each in APART.values()))
    )


def _layer_and_side(outer: str) -> tuple[str, str]:
    """`bidirectional/forward_rnn/simple_rnn_cell` to `bidirectional`, `forward`."""
    parts = outer.split("/")
    if "stacked_rnn_cells" in (plain := [re.sub(r"_\d+$", "", part) for part in parts]):
        parts = parts[: plain.index("stacked_rnn_cells")]
    elif parts[-2:-1] == ["cells"] and "cell" in parts:  # layers/rnn/cell/cells/simple_rnn_cell
        parts = parts[:-2]
    while len(parts) > 1 and _CELL.fullmatch(parts[-1]):
        parts.pop()
    side = _SIDE.fullmatch(parts[-1])
    if side and len(parts) > 1:
        parts.pop()
    return "/".join(parts), side[1] if side else ""


def tensors_of(contents: Contents, placed: Placed, layer: KerasLayer) -> KerasLayer:
    """`layer` with the names of its tensors. Raises `FileError` where the file lists others than it has cells for."""
    listed = contents.metadata.get("layer_weights")
    directions = (
        _by_list(contents, placed, layer, listed) if isinstance(listed, dict) else _by_group(contents, placed, layer)
    )
    layer = replace(layer, cells=tuple(_told(contents, *pair) for pair in zip(layer.cells, directions[0], strict=True)))
    for cells in directions:
        for cell, names in zip(layer.cells, cells, strict=True):
            if len(names) not in cell.counts:
                found = f"{placed.title} has use_bias={cell.use_bias}, but the file lists {_shown(names)}"
                raise FileError(contents.path, found, "save the model again")
    return replace(layer, tensors=directions)


def _told(contents: Contents, cell: Cell, names: tuple[str, ...]) -> Cell:
    """A cell whose size the configuration leaves out, as its weights have it."""
    if cell.stated:
        return cell
    return replace(by_shapes(contents, names) or cell, activation=cell.activation, stated=False)


def _by_list(contents: Contents, placed: Placed, layer: KerasLayer, listed: Mapping[str, list[str]]) -> Directions:
    """From the weight names that a `.h5` lists for the outermost model's layer."""
    names = listed.get(placed.path[0])
    if names is None:
        raise FileError(contents.path, f"the file holds no weights of {placed.title}", "save the model again")
    cells = cells_in(names)
    if len(placed.path) > 1:  # the list is that of the whole sub-model
        exact = [cell for cell in cells if cell.layer == "/".join(placed.path)]
        own = exact or [cell for cell in cells if placed.path[-1] in cell.outer.split("/")[1:]]
        cells = own or cells
    halves = [[cell for cell in cells if cell.side == side] for side in ("forward", "backward")]
    directions = [cells] if layer.merge_mode is None else halves
    if {len(cells) for cells in directions} != {len(layer.cells)}:
        wanted = f"{len(layer.cells) * len(directions)} cells with kernel and recurrent kernel"
        raise FileError(
            contents.path, f"{placed.title} has {wanted}, but the file lists {_shown(names)}", "save it again"
        )
    return tuple(tuple(cell.in_order for cell in cells) for cells in directions)


def _by_group(contents: Contents, placed: Placed, layer: KerasLayer) -> Directions:
    """From the groups of Keras 3, which bear classes and numbers in place of names."""
    noted = contents.metadata.get("names")
    name = noted.get(placed.group) if isinstance(noted, dict) else None
    if name is not None and name != placed.path[-1]:
        found = f"group {printable(placed.group)!r} belongs to a layer {printable(name)!r}, not to {placed.title}"
        raise FileError(contents.path, found, "configuration and weights are of different models")
    sides = [""] if layer.merge_mode is None else ["/forward_layer", "/backward_layer"]
    inner = [f"/cells/{name}" for name in _counted(_CLASS[cell.kind] for cell in layer.cells)]
    inner = inner if layer.stacked else [""]
    return tuple(
        tuple(
            _numbered(contents, f"{placed.group}{side}/cell{cell}/vars/", use.use_bias)
            for cell, use in zip(inner, layer.cells, strict=True)
        )
        for side in sides
    )


def _counted(names: Iterable[str]) -> list[str]:
    """Each with its number among those of the same name: gru_cell, lstm_cell, gru_cell_1."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(f"{name}_{seen[name]}".removesuffix("_0"))
        seen[name] += 1
    return found


def _numbered(contents: Contents, group: str, use_bias: bool) -> tuple[str, ...]:
    """The tensors that are needed, there or not, and any more that are there."""
    needed = [f"{group}{k}" for k in range(2 + use_bias)]
    return (*needed, *(name for name in contents.tensors if name.startswith(group) and name not in needed))


def _shown(names: Iterable[str]) -> str:
    return ", ".join(printable(name) for name in [*names][:6]) or "none"
