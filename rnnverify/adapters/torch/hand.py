"""Recurrent cells written by hand from nn.Linear or bare parameters, as tutorials do: no nn.RNN, and no standard names.

Two forms: a pair, one Linear over x and a square one over h, `i2h.weight` (H, I) and `h2h.weight` (H, H); and one
Linear over both, `i2h.weight` (H, I+H) over cat([x, h]). They are told by names and shapes where a file has no other
recurrent part, which is an assumption, and printed; where names or shapes leave a choice, all readings are offered. A
selector spells any of them: `INPUT,RECURRENT` a pair (of bare parameters, `:matmul` where x @ W is computed, `:linear`
where W x is), `BOTH:xh` one Linear over cat([x, h]), `BOTH:hx` over cat([h, x]); a usual name stands for `:xh`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rnnverify.adapters.torch.parts import Part
from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.errors import SelectorError, printable

_AFFIX = re.compile(r"^(w|weights?|linear|lin|fc|dense|proj)(?=.)|(?<=.)(weights?|linear|lin|proj|layer)$")
_INPUT = {"i2h", "ih", "x2h", "xh", "in2hid", "inp2hid", "in2h", "i2hid", "input2hidden", "inputtohidden", "input2h"}
_BARE_INPUT = {"x", "i", "in", "input"}
_RECURRENT = {"h2h", "hh", "hid2hid", "hidden2hidden", "hiddentohidden", "rec", "recurrent"}
_BOTH = _INPUT - {"ih", "xh"} | {"xh2h", "ih2h", "combined2hidden", "cat2h", "i2hidden"}
_BIASES = {"input": {"bih", "bxh", "bi", "bx", "biasih", "biasx"}, "recurrent": {"bhh", "biashh"}}
_ANY_BIAS = {"b", "bh", "bias", "biash"}


@dataclass(frozen=True)
class Matrix:
    """A 2-D weight: of an nn.Linear called `name`, or a bare parameter of that name."""

    name: str  # "cell.i2h"
    weight: StoredTensor
    bias: StoredTensor | None  # of a Linear

    @property
    def bare(self) -> bool:
        return self.weight.name == self.name

    @property
    def parent(self) -> str:
        return self.name[: len(self.name) - len(self.leaf)]

    @property
    def leaf(self) -> str:
        return re.split(r"[./]", self.name)[-1]


def cells(contents: Contents, selector: str | None, alone: bool) -> dict[str, Part]:
    """The cells that `selector` spells, and, where the file has no other recurrent part (`alone`), those that names
    and shapes tell; by the selector that picks each. SelectorError where one that is spelled cannot be read so.
    """
    matrices = _matrices(contents)
    found = {}
    for piece in (selector or "").split("+"):
        name, _, suffix = piece.partition(":")
        chosen = [matrices[each] for each in name.split(",") if each in matrices]
        head = len(chosen) == 1 and not suffix and _core(chosen[0].leaf)[0] not in _BOTH  # any Linear of the model
        if chosen and len(chosen) == name.count(",") + 1 and not head:
            found[piece] = _spelled(contents, chosen, suffix, piece)
    if alone:
        for part in _told(contents, matrices):
            found.setdefault(part.name, part)
    return found


def uses(part: Part) -> dict[str, StoredTensor]:
    """The tensors of a cell written by hand, whole, as the file has them, by what they are for."""
    stored = part.hand.get("uses")
    return dict(stored) if isinstance(stored, dict) else {}


def _matrices(contents: Contents) -> dict[str, Matrix]:
    found = {}
    for tensor in contents.tensors.values():
        if len(tensor.shape) == 2 and 0 not in tensor.shape:
            name = tensor.name.removesuffix(".weight")
            bias = contents.tensors.get(f"{name}.bias") if name != tensor.name else None
            found[name] = Matrix(name, tensor, bias)
    return found


def _spelled(contents: Contents, chosen: list[Matrix], suffix: str, piece: str) -> Part:
    advice = "give INPUT,RECURRENT with the second one square, or BOTH:xh, one Linear over cat([x, h])"
    if len(chosen) == 1 and suffix in ("", "xh", "hx"):
        H, columns = chosen[0].weight.shape
        if not chosen[0].bare and columns > H:
            return _over_both(chosen[0], suffix or "xh", piece)
        found = f"{printable(piece)} has shape {(H, columns)}, and is no nn.Linear over cat([x, h])"
        raise SelectorError(contents.path, found, advice)
    if len(chosen) == 2 and suffix in ("", "linear", "matmul"):
        readings = list(_pair(contents, *chosen))
        fitting = [part for part in readings if not suffix or str(part.hand["form"]) == suffix]
        if len(fitting) == 1:
            return _named(fitting[0], piece)
        if fitting:
            listed = ", ".join(f"{printable(contents.path, 300)}#{printable(part.name)}" for part in fitting)
            raise SelectorError(contents.path, f"{printable(piece)} can be read in two ways", f"choose one: {listed}")
        shapes = " and ".join(str(each.weight.shape) for each in chosen)
        raise SelectorError(contents.path, f"{printable(piece)} has the shapes {shapes}, which are no cell's", advice)
    raise SelectorError(contents.path, f"{printable(piece)} is no reading of a cell", advice)


def _told(contents: Contents, matrices: Mapping[str, Matrix]) -> Iterator[Part]:
    """Every cell that names and shapes tell."""
    by_parent: dict[str, list[Matrix]] = {}
    for matrix in matrices.values():
        by_parent.setdefault(matrix.parent, []).append(matrix)
    for siblings in by_parent.values():
        pairs = [pair for pair in itertools.permutations(siblings, 2) if _are_a_pair(*pair)]
        for pair in pairs:
            yield from _pair(contents, *pair)
        taken = {each.name for pair in pairs for each in pair}
        for one in siblings:
            H, columns = one.weight.shape
            if one.name in taken or one.bare or columns <= H or _core(one.leaf)[0] not in _BOTH:
                continue
            yield _over_both(one, "xh", one.name)
            for other in siblings:
                if other is not one and other.weight.shape == (H, H):
                    yield from _pair(contents, one, other)


def _are_a_pair(x: Matrix, h: Matrix) -> bool:
    (over_x, plain_x), (over_h, plain_h) = _core(x.leaf), _core(h.leaf)
    if {x.leaf.lower(), h.leaf.lower()} == {"u", "w"}:  # either is the recurrent one, in some textbook
        return True
    if over_h in _RECURRENT:
        return over_x in _INPUT | _BARE_INPUT
    return over_h == "h" and over_x in ("x", "i") and not (plain_x or plain_h)


def _core(leaf: str) -> tuple[str, bool]:
    """`W_ih`, `fc_ih` and `linear_ih` without what only says that it is a weight: `ih`; and whether nothing did."""
    plain = re.sub(r"[_\-]", "", leaf.lower())
    core = _AFFIX.sub("", plain)
    return core, core == plain


def _pair(contents: Contents, x: Matrix, h: Matrix) -> Iterator[Part]:
    """The readings of `x` as the weight over the input and `h` as the recurrent one: none, one, or two."""
    H = h.weight.shape[0]
    if h.weight.shape != (H, H) or x.bare != h.bare or H not in x.weight.shape:
        return
    name = f"{x.name},{h.name}"
    fits = {"linear": x.weight.shape[0] == H, "matmul": x.bare and x.weight.shape[1] == H}
    for form, fit in fits.items():
        if fit:
            shown = name if sum(fits.values()) == 1 else f"{name}:{form}"
            yield _as_part(contents, x, h, form, shown)


def _as_part(contents: Contents, x: Matrix, h: Matrix, form: str, name: str) -> Part:
    turned = form == "matmul"
    biases = (x.bias, h.bias) if not x.bare else _bare_biases(contents, x, h)
    forms = {"weight_ih": {"": _turned(x.weight, turned)}, "weight_hh": {"": _turned(h.weight, turned)}}
    forms.update(_biases(biases, h.weight))
    how = "x @ W + h @ W" if turned else f"{x.leaf}(x) + {h.leaf}(h)"
    other = f"#{h.name},{x.name} reads them the other way round" if x.weight.shape == h.weight.shape else ""
    said = (
        f"{printable(name)} is a cell written by hand, told by names and shapes: the new state is the activation of "
        f"{printable(how)} ({printable(other) or 'another reading is spelled #INPUT,RECURRENT'})"
    )
    uses = {"input": x.weight, "recurrent": h.weight, "input_bias": biases[0], "recurrent_bias": biases[1]}
    return Part(f"{name}.", forms, _hand(form, uses, said))


def _over_both(matrix: Matrix, order: str, name: str) -> Part:
    """One Linear (H, I+H) over cat([x, h]), or cat([h, x]) where `order` is hx."""
    H, columns = matrix.weight.shape
    I = columns - H
    over_x, over_h = (slice(0, I), slice(I, None)) if order == "xh" else (slice(H, None), slice(0, H))
    forms = {
        "weight_ih": {"": _columns(matrix.weight, over_x, (H, I))},
        "weight_hh": {"": _columns(matrix.weight, over_h, (H, H))},
    }
    forms.update(_biases((matrix.bias, None), matrix.weight))
    other = "hx" if order == "xh" else "xh"
    said = (
        f"{printable(matrix.name)} is read as one Linear over cat([{', '.join(order)}]), {I} inputs and {H} units, and "
        f"the activation of it (#{printable(matrix.name)}:{other} reads cat([{', '.join(other)}]))"
    )
    return Part(f"{name}.", forms, _hand(order, {"both": matrix.weight, "both_bias": matrix.bias}, said))


def _hand(form: str, uses: Mapping[str, StoredTensor | None], said: str) -> dict[str, object]:
    return {"form": form, "uses": {use: tensor for use, tensor in uses.items() if tensor}, "said": said}


def _named(part: Part, name: str) -> Part:
    return Part(f"{name}.", part.forms, part.hand)


def _bare_biases(contents: Contents, x: Matrix, h: Matrix) -> tuple[StoredTensor | None, StoredTensor | None]:
    """The biases beside two bare parameters: of x and of h, or one for both."""
    H = h.weight.shape[0]
    kept = {
        re.sub(r"[_\-]", "", name[len(x.parent) :].lower()): tensor
        for name, tensor in contents.tensors.items()
        if name.startswith(x.parent) and tensor.shape == (H,)
    }
    over_x = next((kept[name] for name in kept if name in _BIASES["input"]), None)
    over_h = next((kept[name] for name in kept if name in _BIASES["recurrent"]), None)
    single = next((kept[name] for name in kept if name in _ANY_BIAS), None)
    if over_x is None and over_h is None:
        return single, None
    return over_x, over_h or single


def _biases(
    biases: tuple[StoredTensor | None, StoredTensor | None], weight: StoredTensor
) -> dict[str, dict[str, StoredTensor]]:
    """Both biases of nn.RNNCell, zeros where the file has but one; none where it has none."""
    if not any(biases):
        return {}
    H = weight.shape[0]
    zeros = StoredTensor("", (H,), weight.dtype, lambda: np.zeros(H, _numpy(weight.dtype)))
    return {name: {"": bias or zeros} for name, bias in zip(("bias_ih", "bias_hh"), biases, strict=True)}


def _numpy(dtype: str) -> str:
    return dtype if dtype in ("float16", "float64") else "float32"


def _turned(tensor: StoredTensor, turned: bool) -> StoredTensor:
    """A weight kept for x @ W, as nn.Linear keeps it."""
    if not turned:
        return tensor
    return StoredTensor(tensor.name, tensor.shape[::-1], tensor.dtype, lambda: np.ascontiguousarray(tensor.read().T))


def _columns(tensor: StoredTensor, which: slice, shape: tuple[int, ...]) -> StoredTensor:
    def values() -> Array:
        return np.ascontiguousarray(tensor.read()[:, which])

    return StoredTensor(tensor.name, shape, tensor.dtype, values)
