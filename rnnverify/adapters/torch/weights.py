"""The weights of one nn.RNN, nn.GRU, nn.LSTM or cell, checked: all there, of the right shapes, float, and finite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnverify.adapters.finite import finite
from rnnverify.adapters.torch.gates import ORDERS
from rnnverify.adapters.torch.parts import Part
from rnnverify.canonical import Array, CellKind
from rnnverify.containers.contents import StoredTensor
from rnnverify.errors import FileError, UnsupportedError, printable

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_NORMED = {("_g", "_v"): "weight_norm", (".original0", ".original1"): "parametrizations.weight_norm"}


@dataclass(frozen=True)
class Weights:
    """One nn.RNN, nn.GRU, nn.LSTM (or cell) in its own layout.

    `tensors` has `weight_ih_l0` (G*H, I), `weight_hh_l0` (G*H, P) and, with `bias`, `bias_ih_l0` and `bias_hh_l0`
    (G*H,) for each layer and direction (a cell: without `_l0`); layer k > 0 has I = P, or 2P where `bidirectional`.
    P is H, but where an nn.LSTM has `weight_hr_l0` (P, H).
    """

    kind: CellKind
    input_size: int
    hidden_size: int
    state_size: int  # P
    layers: int
    bidirectional: bool
    bias: bool
    tensors: dict[str, Array]
    rebuilt: dict[str, str]  # weights that the file holds in two tensors, and by which reparametrization

    @property
    def output_size(self) -> int:
        return self.state_size * (2 if self.bidirectional else 1)


def suffixes(part_is_cell: bool, layers: int, bidirectional: bool) -> list[tuple[int, bool, str]]:
    """(layer, reverse, suffix of the four names) of each direction: layer 0 forward, layer 0 reverse, layer 1, ..."""
    if part_is_cell:
        return [(0, False, "")]
    ends = ("", "_reverse") if bidirectional else ("",)
    return [(k, bool(end), f"_l{k}{end}") for k in range(layers) for end in ends]


def read_weights(path: Path, part: Part) -> Weights:
    """The weights of `part`. FileError or UnsupportedError names the tensor that does not fit, and what was wanted."""
    shown = printable(part.name, 80) or "the layer"
    names = set(part.forms)
    bidirectional = any(name.endswith("_reverse") for name in names)
    bias = any(name.startswith("bias") for name in names)
    layers = 1 + max((int(name.split("_l")[1].split("_")[0]) for name in names if "_l" in name), default=0)
    if layers > len(names):
        found = f"{shown} has tensors of layer {layers - 1}, but not of every layer below"
        raise FileError(path, found, "the file is incomplete")
    kinds = ("weight_ih", "weight_hh") + ("bias_ih", "bias_hh") * bias + ("weight_hr",) * part.projected
    directions = suffixes(part.cell, layers, bidirectional)
    wanted = [f"{kind}{suffix}" for _, _, suffix in directions for kind in kinds]
    missing = [name for name in wanted if name not in names]
    if missing:
        found = f"{shown} lacks {', '.join(missing[:4])}{', ...' if len(missing) > 4 else ''}"
        has = ", ".join(sorted(names)[:4])
        raise FileError(path, f"{found}, although it has {has}", "the file is incomplete: save the state_dict again")
    if names - set(wanted):
        found = f"{shown} holds {min(names - set(wanted))} beside {wanted[0]}"
        raise FileError(path, found, f"no nn.{part.module} has both: rename or leave out one")
    shapes = _shapes(path, part, directions)
    tensors = {name: _values(path, part, name, shapes[name]) for name in wanted}
    rows, I = shapes[wanted[0]]
    H, P = rows // len(ORDERS[part.kind]), shapes[wanted[1]][1]
    rebuilt = {name: _normed(path, part, name) for name in wanted if "" not in part.forms[name]}
    return Weights(part.kind, I, H, P, layers, bidirectional, bias, tensors, rebuilt)


def _shapes(path: Path, part: Part, directions: list[tuple[int, bool, str]]) -> dict[str, tuple[int, ...]]:
    """The shape that each tensor of `part` must have, as the first one says."""
    first = f"weight_ih{directions[0][2]}"
    shape = part.shape(first)
    if len(shape) != 2 or 0 in shape:
        found = f"{_shown(part, first)} has shape {shape}"
        raise FileError(path, found, "wanted (units and their gates, input size), both at least 1")
    rows, I = shape
    H, cut = divmod(rows, len(ORDERS[part.kind]))
    if cut:
        found = f"{_shown(part, first)} has {rows} rows"
        raise FileError(path, found, f"an nn.{part.module} has {len(ORDERS[part.kind])} for each unit")
    P = H
    if part.projected:
        projection = part.shape(f"weight_hr{directions[0][2]}")
        if len(projection) != 2 or not 0 < projection[0] < H:
            found = f"{_shown(part, f'weight_hr{directions[0][2]}')} has shape {projection}"
            raise FileError(path, found, f"wanted (projected size, {H}), of less than {H} numbers and at least 1")
        P = projection[0]
    D = 1 + any(reverse for _, reverse, _ in directions)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, _, suffix in directions:
        shapes[f"weight_ih{suffix}"] = (rows, D * P if layer else I)
        shapes[f"weight_hh{suffix}"] = (rows, P)
        shapes[f"bias_ih{suffix}"] = shapes[f"bias_hh{suffix}"] = (rows,)
        shapes[f"weight_hr{suffix}"] = (P, H)
    return shapes


def _values(path: Path, part: Part, name: str, wanted: tuple[int, ...]) -> Array:
    """The finite float values of one weight, in the shape `wanted`."""
    forms = part.forms[name]
    if "" in forms:
        values = _finite(path, forms[""], wanted)
        if len(forms) > 1:
            found = f"{_shown(part, name)} is there both whole and as {', '.join(sorted(set(forms) - {''}))}"
            raise FileError(path, found, "keep one of them")
        return values
    _normed(path, part, name)
    size, direction = (forms[form] for form in sorted(forms))
    v = _finite(path, direction, wanted)
    # weight_norm(dim=0): one g for each row; dim=1: for each column; dim=None: a single one
    axes = tuple(axis for axis in range(len(wanted)) if not size.shape or size.shape[axis : axis + 1] == (1,))
    allowed = ((), tuple(1 if axis in axes else n for axis, n in enumerate(wanted)))
    if size.shape not in allowed or not axes:
        raise FileError(path, f"{printable(size.name)} has shape {size.shape}", "wanted one number for each row")
    wide = v.astype(np.float64)
    norms = np.sqrt(np.sum(wide * wide, axis=axes, keepdims=True))
    if not norms.all():
        found = f"{printable(direction.name)} has a row of zeros, which has no direction"
        raise FileError(path, found, "the weight cannot be rebuilt")
    whole: Array = (_finite(path, size, size.shape).astype(np.float64) * wide / norms).astype(v.dtype)
    return whole


def _normed(path: Path, part: Part, name: str) -> str:
    """The reparametrization that keeps `name` in two tensors. UnsupportedError where it is another one."""
    forms = tuple(sorted(part.forms[name]))
    if forms not in _NORMED:
        found = f"{_shown(part, name)} is kept as {', '.join(f'{name}{printable(form, 40)}' for form in forms)}"
        advice = "remove the reparametrization or pruning before saving: only weight_norm is undone here"
        raise UnsupportedError(path, found, advice)
    return _NORMED[forms]


def _finite(path: Path, tensor: StoredTensor, wanted: tuple[int, ...]) -> Array:
    """The values of `tensor`, after its dtype and shape were found right and no number infinite or NaN."""
    shown = printable(tensor.name)
    if tensor.dtype not in _FLOATS:
        raise UnsupportedError(path, f"{shown} is {printable(tensor.dtype, 60)}", "save it as a dense float tensor")
    if tensor.shape != wanted:
        found = f"{shown} has shape {printable(tensor.shape, 60)}, wanted {wanted}"
        raise FileError(path, found, "the tensors of one layer must fit each other")
    return finite(path, tensor, "such weights compare as nothing: save a sound checkpoint")


def _shown(part: Part, name: str) -> str:
    return printable(part.prefix + name)
