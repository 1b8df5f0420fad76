"""The weights inside the object that a PyTorch file holds, however deep a checkpoint keeps them.

One rule says which tensors are offered. A *state dict* is any dict that holds tensors under text keys; an
optimizer's (`state` beside `param_groups`, or anything under a key that starts with `optim`) is left out.
Where exactly one state dict holds recurrent weights, its keys are the tensor names and `metadata["root"]` is
the list of keys that leads to it from the loaded object ([] for a bare state dict). Where several do (a model
and its EMA, an encoder and a decoder saved apart), all are offered under their path, `ema/rnn.weight_ih_l0`;
`root` is then [] and `metadata["roots"]` maps each name prefix (`ema/`) to its list of keys. Where none does,
the state dicts that there are count as the ones that do. A whole pickled module counts as the state dict that it
would give; `metadata["modules"]` then maps the prefix of each module in it to its class and what it states.
`metadata["quantised"]` names the recurrent layers whose weights are quantised, which are no tensors here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.raw_span import decode, itemsize
from rnnverify.containers.torch_modules import Facts, attributes_of, flatten, is_module
from rnnverify.containers.torch_pickle import Loaded
from rnnverify.containers.torch_quantised import quantised, refusal
from rnnverify.containers.torch_records import MalformedError, Record, Storage, Tensor
from rnnverify.errors import FileError, UnsupportedError, printable

Keys: TypeAlias = tuple[str | int, ...]
ReadStorage: TypeAlias = Callable[[Storage], Array]  # -> (bytes,) uint8

_RECURRENT = re.compile(r"(^|[./])(weight|bias)_(ih|hh)(_l\d+)?(_reverse)?(_[a-z]+|\.original\d?)?$")
_MAX_DEPTH = 16


def contents(
    path: Path, form: str, writer: str, loaded: Loaded, read: ReadStorage, big_endian: bool = False
) -> Contents:
    """The `Contents` of a PyTorch file whose pickle is `loaded` and whose storages `read` gives as (bytes,)
    uint8.

    Raises FileError where the object holds no tensors under names.
    """
    try:
        found = list(_state_dicts(loaded.value))
        packed = quantised(loaded.value)
    except MalformedError as error:
        raise FileError(path, f"its pickle {error}", "save the weights alone: model.state_dict()") from error
    recurrent = [any(map(_RECURRENT.search, state)) for _, state, _ in found]
    offered = [entry for entry, is_one in zip(found, recurrent, strict=True) if is_one] or found
    others = [keys for (keys, _, _), is_one in zip(found, recurrent, strict=True) if not is_one and any(recurrent)]
    if not offered and packed:
        raise refusal(path, packed)
    if not offered:
        raise FileError(path, _what_instead(loaded.value), "save the model with torch.save(model.state_dict(), FILE)")
    several = len(offered) > 1
    tensors: dict[str, StoredTensor] = {}
    roots: dict[str, list[str | int]] = {}
    modules: dict[str, Facts] = {}
    for keys, state, facts in offered:
        prefix = "/".join(map(str, keys)) + "/" if several and keys else ""
        roots[prefix] = list(keys)
        for key, tensor in state.items():
            name = prefix + key
            if name in tensors:
                raise FileError(path, f"two tensors come out as {printable(name)}", "rename one of them")
            tensors[name] = stored(path, name, tensor, read, big_endian)
        modules.update((prefix + inner, stated) for inner, stated in facts.items())
    metadata: dict[str, object] = {"root": [] if several else list(offered[0][0])}
    if packed:
        metadata["quantised"] = packed
    if several:
        metadata["roots"] = roots
    if loaded.refused_by_torch:
        metadata["refused_by_torch"] = loaded.refused_by_torch
    if modules:
        metadata["modules"] = modules
        metadata["layers"] = loaded.layers
    form += ", whole module" if modules and form.startswith("PyTorch") else ""
    return Contents(path, form, "torch", tensors, writer, metadata, tuple(_notes(loaded, others, modules, packed)))


def _state_dicts(value: object) -> Iterator[tuple[Keys, dict[str, Tensor], dict[str, Facts]]]:
    """Every state dict with the keys that lead to it, and what it states where it is a whole module; one that is
    reached twice comes once."""
    seen: set[int] = set()
    waiting: list[tuple[Keys, object]] = [((), value)]
    while waiting:
        keys, node = waiting.pop()
        if id(node) in seen or len(keys) > _MAX_DEPTH or not isinstance(node, (dict, list, tuple, Record)):
            continue
        seen.add(id(node))
        if isinstance(node, Record):
            if is_module(node):
                yield keys, *flatten(node)
                continue
            node = dict(attributes_of(node))  # an object of another class: whatever it keeps under names
        if isinstance(node, dict):
            if {"state", "param_groups"} <= node.keys():
                continue
            tensors = {k: v for k, v in node.items() if isinstance(k, str) and isinstance(v, Tensor)}
            if tensors:
                yield keys, tensors, {}
        items = node.items() if isinstance(node, dict) else enumerate(node)
        inner = [((*keys, k), v) for k, v in items if type(k) is int or (isinstance(k, str) and k[:5] != "optim")]
        waiting += reversed(inner)


def _what_instead(value: object) -> str:
    if isinstance(value, Tensor):
        return f"holds one nameless tensor of shape {value.shape}, not a model"
    if isinstance(value, dict) and {"state", "param_groups"} <= value.keys():
        return "holds the state of an optimizer, not of a model"
    if isinstance(value, dict):
        keys = ", ".join(printable(k, 40) for k in list(value)[:6] if isinstance(k, str))
        return f"holds a dict without model tensors (its keys: {keys or 'none that are text'})"
    if isinstance(value, Record):
        return f"holds an object of the class {printable(value.made_by, 100)}, and no tensors under names in it"
    return "holds no dict of tensors"


def _notes(loaded: Loaded, others: list[Keys], modules: Mapping[str, Facts], packed: tuple[str, ...]) -> Iterator[str]:
    value, parts = loaded.value, {facts.get("class") for facts in modules.values()}
    beside = [name for name in loaded.others if name not in parts and not name.startswith(("torch.", "__torch__."))]
    if beside:
        listed = ", ".join(printable(name, 60) for name in beside[:5])
        yield f"left aside: objects of {len(beside)} class(es) that are no part of the model ({listed})"
    if packed:
        names = ", ".join(printable(name, 60) for name in packed[:5])
        yield f"left aside: {len(packed)} recurrent layer(s) whose weights are quantised ({names})"
    if others:
        names = ", ".join(printable("/".join(map(str, keys)) or "the outermost", 60) for keys in others[:5])
        yield f"left aside: {len(others)} dict(s) of tensors without recurrent weights ({names})"
    if isinstance(value, dict):
        nameless = sum(isinstance(v, Tensor) and not isinstance(k, str) for k, v in value.items())
        if nameless:
            yield f"left aside: {nameless} tensor(s) under keys that are not text"


def stored(path: Path, name: str, tensor: Tensor, read: ReadStorage, big_endian: bool) -> StoredTensor:
    """`tensor` as a container offers it; its numbers are read from its storage by `read` when they are asked for."""
    dtype = f"{tensor.oddity} {tensor.dtype}" if tensor.oddity else tensor.dtype
    return StoredTensor(name, tensor.shape, dtype, lambda: materialise(path, name, tensor, read, big_endian))


def materialise(path: Path, name: str, tensor: Tensor, read: ReadStorage, big_endian: bool) -> Array:
    """The numbers of `tensor`, in its shape. Every bound is checked before any memory is taken.
    UnsupportedError for a sparse, meta or quantised tensor and for a dtype that NumPy lacks; FileError where
    the view leaves its storage, or repeats it: an expanded tensor can announce any size over a single number.
    """
    shown = printable(name)
    size = itemsize(tensor.dtype)
    if tensor.storage is None or size is None:
        raise UnsupportedError(path, f"{shown} is {tensor.oddity or tensor.dtype}", "save it as a dense float tensor")
    count = tensor.storage.count // (size if tensor.storage.dtype == "untyped" else 1)
    wanted = math.prod(tensor.shape)
    if wanted == 0:
        return np.empty(tensor.shape, dtype=np.float32 if tensor.dtype == "bfloat16" else tensor.dtype)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides, strict=True))
    if last >= count:
        raise FileError(path, f"{shown} reaches number {last} of a storage of {count}", "the file is damaged")
    if wanted > count:
        found = f"{shown} has shape {tensor.shape}, {wanted} numbers viewed in a storage of {count}"
        raise FileError(path, found, "an expanded view is not read: save tensor.contiguous()")
    flat = decode(read(tensor.storage)[tensor.offset * size : (last + 1) * size], tensor.dtype, big_endian)
    # not ascontiguousarray: that gives a single number an axis
    steps = tuple(step * flat.itemsize for step in tensor.strides)
    view = np.lib.stride_tricks.as_strided(flat, tensor.shape, steps, writeable=False)
    return np.asarray(view, order="C")
