"""What a PyTorch pickle is made of, as inert records: names, storages, tensors, and objects of no interest."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from rnnverify.errors import UnsupportedError

Arguments: TypeAlias = tuple[object, ...]


class MalformedError(ValueError):
    """A pickle contradicts itself; the message completes "the pickle ..."."""


@dataclass(frozen=True)
class Global:
    """A class or function that the pickle names; never the thing itself."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """An inert object: which class, called with what, and the state it was given."""

    made_by: Global
    arguments: Arguments = field(repr=False)  # never printed: a small pickle can hold what prints as terabytes
    state: object = field(default=None, repr=False)


@dataclass(frozen=True)
class Storage:
    """A flat run of `count` numbers, kept under `key` beside the pickle."""

    key: str
    dtype: str  # NumPy's name, or bfloat16; "untyped": `count` is in bytes, and each tensor says its dtype
    count: int


@dataclass(frozen=True)
class Tensor:
    """A strided view of a storage; offset and strides in numbers, not bytes. Nothing is checked against the storage."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] = ()
    offset: int = 0
    storage: Storage | None = None  # None: no plain array
    oddity: str = ""  # why there is none: "sparse", "meta (a shape without data)", "quantised"


DTYPES = (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16",
    "uint8", "bool", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
    "float8_e5m2fnuz", "float8_e8m0fnu",
)  # fmt: skip
"""Names in `torch` that are dtypes."""

STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "QInt8Storage": "qint8", "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
}  # fmt: skip
"""Names in `torch` that are typed storages, and what they hold. Untyped ones are in `torch.storage`."""


def storage_dtype(kind: object) -> str:
    """The dtype of a storage class; MalformedError where `kind` is none."""
    if isinstance(kind, Global):
        if kind.module == "torch" and kind.name in STORAGES:
            return STORAGES[kind.name]
        if kind.module == "torch.storage" and kind.name == "UntypedStorage":
            return "untyped"
    raise MalformedError("gives a storage a class that is none")


def storage_of(path: Path, entry: object) -> Storage:
    """The storage behind `('storage', class, key, location, count)`; the legacy form has a sixth entry.

    Where it lived, such as `cuda:0`, does not matter.
    """
    if not isinstance(entry, tuple) or len(entry) not in (5, 6) or entry[0] != "storage":
        raise MalformedError("refers to something outside it that is no storage")
    _, kind, key, _, count = entry[:5]
    if not isinstance(key, str) or type(count) is not int or not 0 <= count < 1 << 62:
        raise MalformedError("describes a storage without a key or a size")
    if len(entry) == 6 and entry[5] is not None:
        found = "holds a view of a storage, as PyTorch before 0.4 wrote"
        raise UnsupportedError(path, found, "save it again with PyTorch 1")
    return Storage(key, storage_dtype(kind), count)
