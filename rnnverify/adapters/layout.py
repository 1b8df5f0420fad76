"""A network as one framework lays it out, and what the layouts share: the way back from the canonical form."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.canonical import Array, Direction, Layer
from rnnverify.containers.contents import FrameworkName
from rnnverify.errors import UnsupportedError

_GENERIC = re.compile(
    r"(?:(?:basic_|simple_)?(?:rnn|gru|lstm)_cell|multi_rnn_cell|(?:stack_)?bidirectional_rnn|rnn|birnn|multirnncell"
    r"|(?:basic)?(?:rnn|gru|lstm)cell|fw|bw|cell|layer|while|module|_orig_mod|)_?\d*",
    re.IGNORECASE,
)
"""Words of a scope or a prefix that a framework put there."""


@dataclass(frozen=True)
class Layout:
    """The named arrays of a framework's own layers, and those layers.

    `layers` holds plain JSON values, one dict for each layer object; which keys, the writer of `framework` says
    (`runners/write_<framework>.py`). Each dict names its arrays by keys of `tensors`.
    """

    framework: FrameworkName
    layers: tuple[Mapping[str, Any], ...]
    tensors: Mapping[str, Array]  # by name, each as the framework shapes it
    part: str = ""  # the selector that stacks the parts of the file again; empty where it holds one
    notes: tuple[str, ...] = ()  # what the layout changes


def grouped(
    layers: Sequence[Layer], names: Sequence[str], joins: Callable[[Layer, Layer], bool]
) -> list[tuple[int, ...]]:
    """The layers, by number, that one object of the framework can hold: neighbours that `joins` allows.

    Where `names` are given, one a layer, only layers of one name share an object.
    """
    groups: list[tuple[int, ...]] = [(0,)]
    for k in range(1, len(layers)):
        together = joins(layers[k - 1], layers[k]) and (not names or names[k - 1] == names[k])
        groups[-1:] = [(*groups[-1], k)] if together else [groups[-1], (k,)]
    return groups


def plain_names(wanted: Sequence[str], default: str) -> list[str]:
    """`wanted` as names of letters, digits and underscores, each once; `default` in place of those that say nothing.

    Of a scope, `encoder/multi_rnn_cell/cell_0/basic_rnn_cell`, stays what its user called it: `encoder`.
    """
    found: list[str] = []
    for text in wanted:
        words = re.split(r"[/. ]", text)
        own = [word for word in words if len(words) == 1 or not _GENERIC.fullmatch(word)]
        name = re.sub(r"\W+", "_", "_".join(own), flags=re.ASCII).strip("_")[:80]
        name = name if name[:1].isalpha() else default
        number = 0
        while f"{name}_{number}".removesuffix("_0") in found:
            number += 1
        found.append(f"{name}_{number}".removesuffix("_0"))
    return found


def widest_dtype(layers: Sequence[Layer]) -> np.dtype[Any]:
    """The dtype that holds every weight of `layers`."""
    return np.result_type(*(array for layer in layers for d in layer.directions for _, array in d.tensors()))


def widened(layers: Sequence[Layer], dtype: np.dtype[Any]) -> tuple[str, ...]:
    """A note where weights are stored in a wider dtype than they had."""
    had = {array.dtype.name for layer in layers for d in layer.directions for _, array in d.tensors()} - {dtype.name}
    return (f"weights in {', '.join(sorted(had))} are stored as {dtype.name}, which holds their values",) if had else ()


def one_bias(target: Path, where: str, direction: Direction, dtype: np.dtype[Any]) -> Array:
    """(G, H) of `dtype`: the two biases as one, their sum rounded once. UnsupportedError where it is too large."""
    with np.errstate(over="ignore"):
        total: Array = direction.bias.astype(dtype)
    if not np.isfinite(total).all():
        found = f"the biases of {where} add up to more than {dtype.name} holds"
        raise UnsupportedError(target, found, "convert to a PyTorch file, which keeps both")
    return total


def way(reverse: bool) -> str:
    """How a direction is named behind its layer."""
    return " reverse" if reverse else ""


def summed(layers: Sequence[Layer]) -> tuple[str, ...]:
    """A note where two biases become one."""
    both = any(d.bias_input.any() and d.bias_recurrent.any() for layer in layers for d in layer.directions)
    return ("the two biases are stored as one, their sum rounded once",) if both else ()
