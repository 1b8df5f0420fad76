"""The layers of a PyTorch file whose recurrent weights are quantised, by name: their integers are not read.

`torch.quantization.quantize_dynamic` keeps those of an nn.LSTM or nn.GRU in objects of C++ under `_all_weight_values`,
those of a cell under `_packed_weight_ih` and `_packed_weight_hh` (torch/ao/nn/quantized/dynamic/modules/rnn.py, 1.8.0
to 2.13.0), in a state dict and in the attributes of a module alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

from rnnverify.containers.torch_modules import attributes_of, inside, is_module
from rnnverify.containers.torch_records import Record
from rnnverify.errors import UnsupportedError, printable

_PACKED = ("_all_weight_values", "_packed_weight_ih")
_MAX_DEPTH = 16
_MAX_NAMED = 1000


def quantised(value: object) -> tuple[str, ...]:
    """The names of such layers in the object that a file holds, `encoder`; empty where it has none.

    Raises MalformedError as `torch_modules.inside` does.
    """
    found: dict[str, None] = {}
    seen: set[int] = set()
    waiting = [(value, 0)]
    while waiting and len(found) < _MAX_NAMED:
        node, depth = waiting.pop()
        if id(node) in seen or depth > _MAX_DEPTH or not isinstance(node, (dict, list, tuple, Record)):
            continue
        seen.add(id(node))
        if isinstance(node, Record):
            if is_module(node):
                found.update(dict.fromkeys(_in_module(node)))
                continue
            node = dict(attributes_of(node))
        if isinstance(node, dict):
            found.update(dict.fromkeys(_in_names(node)))
        inner = node.values() if isinstance(node, dict) else node
        waiting += [(each, depth + 1) for each in inner]
    return tuple(found)


def refusal(path: Path, names: Iterable[str]) -> UnsupportedError:
    """The error about layers of these names, where they are what was asked for."""
    shown = ", ".join(printable(name, 60) or "the layer" for name in itertools.islice(names, 5))
    found = f"keeps the weights of {shown} as quantised integers, which are not read"
    return UnsupportedError(path, found, "compare the model as it was before quantize_dynamic")


def _in_names(state: dict[object, object]) -> Iterator[str]:
    for key in state:
        pieces = key.split(".") if isinstance(key, str) else []
        for mark in _PACKED:
            if mark in pieces:
                yield ".".join(pieces[: pieces.index(mark)])


def _in_module(module: Record) -> Iterator[str]:
    for prefix, inner in inside(module):
        attributes = attributes_of(inner)
        modules = attributes.get("_modules")
        held = {*attributes, *modules} if isinstance(modules, dict) else set(attributes)
        if held & set(_PACKED):
            yield prefix[:-1]
