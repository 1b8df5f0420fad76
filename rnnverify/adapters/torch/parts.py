"""The recurrent parts of a PyTorch state dict: which tensor names belong to one nn.RNN, nn.GRU, nn.LSTM
or cell, and which to pick.

A part is one prefix, such as `encoder.rnn.`, with everything under it that bears a recurrent name:
`weight_ih_l0`, `bias_hh_l1_reverse` (nn.RNN, nn.GRU, nn.LSTM) or `weight_ih` (the cells). Names:
torch/nn/modules/rnn.py, 1.0.0 to 2.13.0. A weight under `weight_norm` is kept in two tensors: `*_g` and
`*_v`, or `parametrizations.*.original0` and `1`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from rnnverify.adapters.torch.gates import KINDS
from rnnverify.canonical import CellKind
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.torch_quantised import refusal
from rnnverify.errors import SelectorError, printable

_BASE = r"(?:weight|bias)_(?:ih|hh|hr)(?:_l(?:0|[1-9]\d{0,5})(?:_reverse)?)?"
_NAME = re.compile(
    rf"(?P<prefix>(?:.*[./])?)(?P<base>{_BASE})(?P<form>_g|_v|_u|_orig|_mask)?"
    rf"|(?P<outer>(?:.*[./])?)parametrizations\.(?P<inner>{_BASE})(?P<piece>\.original\d?|\.\d+\..+)",
    re.DOTALL,
)
_WRAPPERS = ("module", "_orig_mod")  # nn.DataParallel and AveragedModel, torch.compile
_MANY = 6  # parts beyond which no order is proposed


@dataclass(frozen=True)
class Part:
    """One nn.RNN, nn.GRU, nn.LSTM or cell of a file, by the names of its tensors."""

    prefix: str  # "encoder.rnn.", "" for a bare layer
    forms: dict[str, dict[str, StoredTensor]] = field(default_factory=dict)
    # such as weight_ih_l0 to how it is kept: {"": tensor} as it is, {"_g": ..., "_v": ...} under weight_norm
    hand: Mapping[str, object] = field(default_factory=dict)  # of a cell written by hand: see torch_hand

    @property
    def name(self) -> str:
        return self.prefix[:-1]

    @property
    def cell(self) -> bool:
        return not any("_l" in base for base in self.forms)

    def shape(self, base: str) -> tuple[int, ...]:
        """The shape of `base`, or () where it is not there or kept in an unknown form."""
        forms = self.forms.get(base, {})
        whole = forms.get("") or forms.get("_v") or forms.get(".original1") or forms.get("_orig")
        return whole.shape if whole else ()

    @property
    def kind(self) -> CellKind:
        """By the rows of the input weight: 1, 3 or 4 times the columns of the recurrent one. `rnn` where neither."""
        inner, outer = (self.shape(base + ("" if self.cell else "_l0")) for base in ("weight_hh", "weight_ih"))
        if self.projected:
            return "lstm"
        if len(inner) == 2 and inner[1] and len(outer) == 2 and outer[0] % inner[1] == 0:
            return KINDS.get(outer[0] // inner[1], "rnn")
        return "rnn"

    @property
    def projected(self) -> bool:
        return any(base.startswith("weight_hr") for base in self.forms)

    @property
    def module(self) -> str:
        """Which class of torch.nn it is: `RNN`, `GRUCell`, ..."""
        return self.kind.upper() + "Cell" * self.cell

    @property
    def sizes(self) -> tuple[int, int] | None:
        """Input and output size, where the shapes tell."""
        inner, outer = (self.shape(base + ("" if self.cell else "_l0")) for base in ("weight_hh", "weight_ih"))
        if len(inner) != 2 or len(outer) != 2:
            return None
        return outer[1], inner[1] * (2 if any(base.endswith("_reverse") for base in self.forms) else 1)


def find_parts(contents: Contents) -> dict[str, Part]:
    """Every part by its name, in the order of the file."""
    parts: dict[str, Part] = {}
    for name, tensor in contents.tensors.items():
        match = _NAME.fullmatch(name)
        if match:
            prefix = match["prefix"] or match["outer"] or ""
            part = parts.setdefault(prefix[:-1], Part(prefix))
            part.forms.setdefault(match["base"] or match["inner"], {})[match["form"] or match["piece"] or ""] = tensor
    return parts


def select(contents: Contents, parts: dict[str, Part], selector: str | None) -> list[Part]:
    """The parts that `selector` names, `a+b` in that order; without one, the only part there is.

    Else SelectorError; UnsupportedError where what is named, or all there is, is quantised.
    """
    path = contents.path
    packed = contents.metadata.get("quantised")
    for name in packed if isinstance(packed, tuple) else ():
        if not parts or (selector is not None and name in selector.split("+")):
            raise refusal(path, [name])
    if not parts:
        names = ", ".join(printable(name, 60) for name in itertools.islice(contents.tensors, 6))
        more = ", ..." if len(contents.tensors) > 6 else ""
        wanted = "tensors named as in nn.RNN, nn.GRU or nn.LSTM, such as weight_ih_l0"
        found = f"has no {wanted}; it has {names or 'none'}{more}"
        advice = "a cell written by hand is spelled by its weights: FILE#INPUT,RECURRENT"
        raise SelectorError(path, found, advice)
    if selector is None:
        if len(parts) > 1:
            raise SelectorError(path, f"holds {len(parts)} recurrent parts", f"choose one: {_choices(path, parts)}")
        return list(parts.values())
    whole = _one(parts, selector)
    if whole is not None:
        return [whole]
    chosen = []
    for wanted in selector.split("+"):
        part = _one(parts, wanted)
        if part is None:
            found = f"has no recurrent part {printable(wanted) or 'without a name'}"
            raise SelectorError(path, found, f"choose one: {_choices(path, parts)}")
        if part in chosen:
            raise SelectorError(path, f"the part {printable(wanted)} is named twice", "name each part once")
        chosen.append(part)
    return chosen


def _one(parts: dict[str, Part], wanted: str) -> Part | None:
    """The part of exactly that name, or the only one of that name when wrappers are left out of both."""
    if wanted in parts:
        return parts[wanted]
    alike = [part for name, part in parts.items() if _unwrapped(name) == _unwrapped(wanted)]
    return alike[0] if len(alike) == 1 else None


def _unwrapped(name: str) -> str:
    return ".".join(piece for piece in name.rstrip(".").split(".") if piece not in _WRAPPERS)


def _choices(path: object, parts: dict[str, Part]) -> str:
    """What can be typed, ready to paste; a stack too, where the sizes allow exactly one order."""
    if list(parts) == [""]:
        return f"{printable(path, 300)}, without a selector"
    lines = [
        f"{printable(path, 300)}#{printable(name)}" + ("" if part.kind == "rnn" else f" (nn.{part.module})")
        for name, part in itertools.islice(parts.items(), 20)
    ]
    if len(parts) > 20:
        lines.append(f"and {len(parts) - 20} more")
    orders = _orders(list(parts.values())) if 1 < len(parts) <= _MANY else []
    if len(orders) == 1:
        stack = "+".join(printable(part.name) for part in orders[0])
        lines.append(f"{printable(path, 300)}#{stack} (stacked in the only order that fits)")
    return ", ".join(lines)


def _orders(parts: list[Part]) -> list[tuple[Part, ...]]:
    """Every order of all parts in which each reads as many features as the one below gives."""
    if any(part.sizes is None for part in parts):
        return []
    return [order for order in itertools.permutations(parts) if _chains(order)]


def _chains(order: tuple[Part, ...]) -> bool:
    sizes = [part.sizes or (0, 0) for part in order]
    return all(below[1] == above[0] for below, above in itertools.pairwise(sizes))
