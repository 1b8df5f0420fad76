"""The tensors of a whole pickled module, under the names that its own state_dict would give them.

An nn.Module is pickled as its class's name and its `__dict__`, in which `_parameters` and `_buffers` hold tensors and
`_modules` the modules inside (torch/nn/modules/module.py, 1.0.0 to 2.13.0). A TorchScript module is pickled as its
attributes, tensors and modules side by side (torch/csrc/jit/serialization/export_module.cpp, 1.5.0 to 2.13.0). Either
is a `Record` here: whose class it is never matters for reading, and its code is never looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from rnnverify.containers.torch_records import MalformedError, Record, Tensor

Facts: TypeAlias = dict[str, str | int | float | bool]

STATED = (
    "mode", "nonlinearity", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
    "bidirectional", "proj_size",
)  # fmt: skip
"""What nn.RNN, nn.GRU, nn.LSTM and their cells keep about themselves (torch/nn/modules/rnn.py, 1.0.0 to 2.13.0)."""

_MAX_DEPTH = 64
_MAX_MODULES = 20_000  # one module may be kept under many names, and each of them is gone through


def is_module(value: object) -> bool:
    """Whether `value` is an nn.Module, or a module of TorchScript."""
    return isinstance(value, Record) and (_is_eager(attributes_of(value)) or is_scripted(value))


def is_scripted(record: Record) -> bool:
    """Whether `record` is of a class inside a TorchScript file."""
    return record.made_by.module.partition(".")[0] == "__torch__"


def flatten(module: Record) -> tuple[dict[str, Tensor], dict[str, Facts]]:
    """The tensors of `module` as its state_dict names them, and for the prefix of each module inside (`rnn.`, `` for
    itself) its `class` and what it states. MalformedError where modules lie too deep, or are too many."""
    tensors: dict[str, Tensor] = {}
    facts: dict[str, Facts] = {}
    for prefix, inner in inside(module):
        facts[prefix] = _facts(inner)
        tensors.update((prefix + name, tensor) for name, tensor in _own_tensors(inner))
    return tensors, facts


def inside(module: Record) -> Iterator[tuple[str, Record]]:
    """`module` under the prefix "" and the modules inside it, in the order in which a state_dict lists them."""
    for count, found in enumerate(_descend("", module, 0)):
        if count >= _MAX_MODULES:
            raise MalformedError(f"holds more than {_MAX_MODULES} modules")
        yield found


def _descend(prefix: str, module: Record, depth: int) -> Iterator[tuple[str, Record]]:
    if depth > _MAX_DEPTH:
        raise MalformedError(f"nests modules more than {_MAX_DEPTH} deep")
    yield prefix, module
    attributes = attributes_of(module)
    held = attributes.get("_modules") if _is_eager(attributes) else attributes
    for name, inner in held.items() if isinstance(held, Mapping) else ():
        if isinstance(name, str) and isinstance(inner, Record) and is_module(inner):
            yield from _descend(f"{prefix}{name}.", inner, depth + 1)


def _own_tensors(module: Record) -> Iterator[tuple[str, Tensor]]:
    attributes = attributes_of(module)
    groups: list[object] = [attributes]
    if _is_eager(attributes):
        groups = [attributes["_parameters"], attributes.get("_buffers")]
    for group in groups:
        for name, tensor in group.items() if isinstance(group, Mapping) else ():
            if isinstance(name, str) and isinstance(tensor, Tensor):
                yield name, tensor


def _facts(module: Record) -> Facts:
    attributes = attributes_of(module)
    # TorchScript numbers its classes, and the code that it keeps says what they compute
    stated: Facts = {} if is_scripted(module) else {"class": str(module.made_by)}
    for name in STATED:
        value = attributes.get(name)
        if isinstance(value, (str, int, float)):
            stated[name] = value
    return stated


def attributes_of(record: Record) -> Mapping[object, object]:
    """The `__dict__` of an object; with `__slots__`, the state is a pair of which it is the first."""
    state = record.state
    if isinstance(state, tuple) and len(state) == 2:
        state = state[0]
    return state if isinstance(state, Mapping) else {}


def _is_eager(attributes: Mapping[object, object]) -> bool:
    return isinstance(attributes.get("_parameters"), Mapping) and isinstance(attributes.get("_modules"), Mapping)
