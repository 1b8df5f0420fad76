"""What the names inside a PyTorch pickle stand for: the whole list of functions whose calls are read.

A pickle is a program that names classes and functions and calls them. Here a called name is only looked up in
`KNOWN`, and a call builds one of the inert records of `torch_records` from the arguments: nothing in this
package is reached through a pickle. An object of a class that is not Python's own, whichever, is a `Record` of the
class's name and the state it was given. Names and argument orders: torch/_utils.py, torch/_tensor.py,
torch/storage.py (1.0.0 to 2.13.0), torch/jit/_pickle.py (1.5.0 to 2.13.0).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeAlias

from rnnverify.containers.torch_records import (
    DTYPES,
    STORAGES,
    Arguments,
    Global,
    MalformedError,
    Record,
    Storage,
    Tensor,
)


def _whole(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise MalformedError(f"gives a tensor a {what} that is no whole number from 0 to 2^62")
    return value


def _wholes(value: object, what: str) -> tuple[int, ...]:
    # NumPy 1 has 32 axes at most
    if not isinstance(value, tuple) or len(value) > 32:
        raise MalformedError(f"gives a tensor a {what} that is no tuple of at most 32 numbers")
    return tuple(_whole(n, what) for n in value)


def _tensor(arguments: Arguments) -> Tensor:
    """`_rebuild_tensor(storage, offset, size, stride)`; `_v2` adds requires_grad, hooks and metadata."""
    storage = arguments[0]
    if not isinstance(storage, Storage):
        raise MalformedError("builds a tensor on something that is no storage")
    shape, strides = _wholes(arguments[2], "shape"), _wholes(arguments[3], "stride")
    if len(shape) != len(strides):
        raise MalformedError(f"gives a tensor {len(shape)} axes and {len(strides)} strides")
    return Tensor(storage.dtype, shape, strides, _whole(arguments[1], "offset"), storage)


def _tensor_v3(arguments: Arguments) -> Tensor:
    """`_rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, metadata)`: untyped storage."""
    plain, dtype = _tensor(arguments[:4]), arguments[6]
    if not isinstance(dtype, Global) or dtype.module != "torch" or dtype.name not in DTYPES:
        raise MalformedError("gives a tensor a dtype that is none")
    return Tensor(dtype.name, plain.shape, plain.strides, plain.offset, plain.storage)


def _parameter(arguments: Arguments) -> object:
    """`_rebuild_parameter(data, requires_grad, hooks)`: the tensor itself."""
    return arguments[0]


def _subclass(arguments: Arguments) -> object:
    """`_rebuild_from_type_v2(function, type, arguments, state)`: a tensor that had Python attributes."""
    function, kind, inner = arguments[:3]
    plain = kind in (Global("torch", "Tensor"), Global("torch.nn.parameter", "Parameter"))
    if not isinstance(function, Global) or not plain or not isinstance(inner, tuple) or function.name == _SUBCLASS:
        raise MalformedError("builds a tensor of an unknown class")
    return build(function, inner)


def _sparse(arguments: Arguments) -> Tensor:
    """`_rebuild_sparse_tensor(layout, (indices, values, size, ...))`."""
    data = arguments[1]
    if not isinstance(data, tuple) or not isinstance(data[1], Tensor):
        raise MalformedError("builds a sparse tensor of something that is none")
    shape = next((part for part in data[2:] if isinstance(part, tuple)), ())
    return Tensor(data[1].dtype, _wholes(shape, "shape"), oddity="sparse")


def _meta(arguments: Arguments) -> Tensor:
    """`_rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad)`."""
    dtype = arguments[0].name if isinstance(arguments[0], Global) else "?"
    return Tensor(dtype, _wholes(arguments[1], "shape"), oddity="meta (a shape without data)")


def _quantised(arguments: Arguments) -> Tensor:
    """`_rebuild_qtensor(storage, offset, size, stride, ...)`."""
    return Tensor(_tensor(arguments[:4]).dtype, _wholes(arguments[2], "shape"), oddity="quantised")


def _dict(arguments: Arguments) -> dict[object, object]:
    """`OrderedDict()` or, from Python 2, `OrderedDict([[key, value], ...])`; `defaultdict(factory)`."""
    pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []
    return {key_of(pair[0]): pair[1] for pair in pairs if isinstance(pair, (list, tuple)) and len(pair) == 2}


def key_of(value: object) -> object:
    """`value` as the key of a dict. Only plain values are hashed: a deep tuple's hash would exhaust the stack."""
    return value if type(value) in (str, int, float, bool, bytes) or value is None else Record(_KEY, (value,))


def _first(arguments: Arguments) -> object:
    """`torch.Size(sizes)`, `restore_type_tag(value, type)`, `build_tensorlist(values)`: the first argument itself."""
    return arguments[0]


def _reconstructed(arguments: Arguments) -> Record:
    """`_reconstructor(class, base, state of the base)`: how protocols 0 and 1 make an object."""
    if not isinstance(arguments[0], Global):
        raise MalformedError("makes an object of something that is no class")
    return Record(arguments[0], arguments[1:])


def _torch_function(arguments: Arguments) -> Record:
    """`getattr(torch._C._VariableFunctionsClass, "tanh")`: how a module refers to torch.tanh. No other attribute."""
    functions = (Global("torch._C", "_VariableFunctionsClass"), Global("torch._C", "_VariableFunctions"))
    if arguments[0] not in functions or type(arguments[1]) is not str:
        raise MalformedError("calls builtins.getattr on something other than torch's functions")
    return Record(_KEY, arguments)


_KEY = Global("builtins", "object")
_SUBCLASS = "_rebuild_from_type_v2"
Build: TypeAlias = Callable[[Arguments], object]

_WEIGHTS: dict[tuple[str, str], Build | None] = {
    ("collections", "OrderedDict"): _dict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _meta,
    ("torch._utils", "_rebuild_qtensor"): _quantised,
    ("torch._tensor", _SUBCLASS): _subclass,
    ("torch", "Size"): _first,
    **{("torch", name): None for name in (*DTYPES, *STORAGES, "Tensor", "device")},
    **{("torch", f"per_{kind}"): None for kind in ("tensor_affine", "tensor_symmetric", "channel_affine")},
    ("torch.storage", "UntypedStorage"): None,
    ("torch.nn.parameter", "Parameter"): None,
    ("torch.serialization", "_get_layout"): None,
    ("collections", "Counter"): None,
    ("_codecs", "encode"): None,
    ("builtins", "bytearray"): None,
    ("builtins", "set"): None,
    ("__builtin__", "set"): None,  # protocol 2 says it so; torch maps the names of Python 2, as pickle does
    ("builtins", "complex"): None,
}
"""What `torch.load(weights_only=True)` reads as well (torch/_weights_only_unpickler.py, 2.13.0)."""

_BESIDE: dict[tuple[str, str], Build | None] = {
    ("collections", "defaultdict"): _dict,
    ("collections", "deque"): None,
    ("torch.storage", "TypedStorage"): None,
    ("argparse", "Namespace"): None,
    ("types", "SimpleNamespace"): None,
    **{("numpy", name): None for name in ("dtype", "ndarray", "bool_", "float32", "float64", "int32", "int64")},
    **{(f"numpy.{core}.multiarray", name): None for core in ("core", "_core") for name in ("scalar", "_reconstruct")},
    **{("numpy.dtypes", f"{name}DType"): None for name in ("Float32", "Float64", "Int32", "Int64", "Bool")},
    **{("pathlib", name): None for name in ("Path", "PosixPath", "PurePosixPath", "WindowsPath")},
    ("pathlib._local", "PosixPath"): None,
    ("pathlib._local", "WindowsPath"): None,
    **{("datetime", name): None for name in ("datetime", "date", "timedelta")},
    **{
        (module, name): None
        for module in ("builtins", "__builtin__")
        for name in (
            "object",
            "bytes",
            "int",
            "float",
            "str",
            "bool",
            "list",
            "dict",
            "tuple",
            "set",
            "frozenset",
            "slice",
        )
    },
    ("__builtin__", "bytearray"): None,
    ("__builtin__", "complex"): None,
    **{(module, "_reconstructor"): _reconstructed for module in ("copy_reg", "copyreg")},
    **{(module, "getattr"): _torch_function for module in ("builtins", "__builtin__")},
    ("torch.nn.backends.thnn", "_get_thnn_function_backend"): None,
    **{("torch.jit._pickle", f"build_{kind}list"): _first for kind in ("tensor", "int", "double", "bool")},
    ("torch.jit._pickle", "restore_type_tag"): _first,
    ("pytorch_lightning.utilities.parsing", "AttributeDict"): None,
    ("lightning.fabric.utilities.data", "AttributeDict"): None,
    ("lightning_fabric.utilities.data", "AttributeDict"): None,
}
"""What training scripts keep beside the weights; `torch.load(weights_only=True)` refuses the file for it."""

KNOWN: dict[tuple[str, str], Build | None] = {**_BESIDE, **_WEIGHTS}
"""Exact module and name to what a call builds; None: a `Record`."""

_PYTHON = sys.stdlib_module_names | {"__builtin__", "copy_reg", "commands", "exceptions"}

LAYERS = tuple(f"torch.nn.modules.rnn.{kind}{end}" for kind in ("RNN", "GRU", "LSTM") for end in ("", "Cell"))
"""Torch's own classes that `torch.load(weights_only=True)` may be told to make: they run no code of a file."""


def torch_refuses(name: Global) -> bool:
    """Whether `torch.load(weights_only=True)` stops at this name, even where it is told to make `LAYERS`."""
    return (name.module, name.name) not in _WEIGHTS and str(name) not in LAYERS


def of_the_standard_library(name: Global) -> bool:
    """Whether Python itself brings what is named, also by way of another module: `torch.serialization`, `os.system`."""
    return any(part in _PYTHON for part in (name.module.partition(".")[0], *name.name.split(".")[:-1]))


def known(called: Global) -> bool:
    """Whether a call of `called` is read. What TorchScript calls `__torch__.X` is a type inside its file."""
    return (called.module, called.name) in KNOWN or called.module.partition(".")[0] == "__torch__"


def build(called: Global, arguments: Arguments) -> object:
    """What calling `called`, which is `known`, gives. MalformedError, or IndexError for too few arguments, where it
    cannot be."""
    make = KNOWN.get((called.module, called.name))
    return Record(called, arguments) if make is None else make(arguments)
