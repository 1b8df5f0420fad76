"""Writes PyTorch files byte by byte, so that tests can build what no torch.save would."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Named:
    """A GLOBAL opcode: `module name`."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """REDUCE: `function(*arguments)`."""

    function: Named
    arguments: tuple[object, ...]


@dataclass(frozen=True)
class Outside:
    """BINPERSID: a reference to something beside the pickle."""

    entry: object


def opcodes(value: object) -> bytes:
    """The opcodes, protocol 2, that put `value` on the stack."""
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            raw = value.to_bytes(16, "little", signed=True)
            return b"\x8a\x10" + raw
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            raw = value.encode()
            return b"X" + struct.pack("<I", len(raw)) + raw
        case tuple():
            return b"(" + b"".join(map(opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(opcodes(k) + opcodes(v) for k, v in value.items()) + b"u"
        case Named():
            return f"c{value.module}\n{value.name}\n".encode()
        case Call():
            return opcodes(value.function) + opcodes(value.arguments) + b"R"
        case Outside():
            return opcodes(value.entry) + b"Q"
    raise TypeError(type(value))


def pickled(value: object) -> bytes:
    return b"\x80\x02" + opcodes(value) + b"."


def tensor(
    key: str,
    count: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    offset: int = 0,
    storage: str = "FloatStorage",
) -> Call:
    """`_rebuild_tensor_v2` over `count` numbers kept under `key`; without strides, in row-major order."""
    if strides is None:
        strides = tuple(_product(shape[k + 1 :]) for k in range(len(shape)))
    entry = ("storage", Named("torch", storage), key, "cpu", count)
    hooks = Call(Named("collections", "OrderedDict"), ())
    arguments = (Outside(entry), offset, shape, strides, False, hooks)
    return Call(Named("torch._utils", "_rebuild_tensor_v2"), arguments)


def _product(sizes: tuple[int, ...]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result


def write_zip(
    path: Path, value: object, storages: dict[str, bytes], byteorder: bytes | None = b"little", deflate: bool = False
) -> Path:
    """A zip as torch.save writes it, its root named `archive`."""
    members = {"archive/data.pkl": pickled(value)} | {f"archive/data/{k}": v for k, v in storages.items()}
    if byteorder is not None:
        members["archive/byteorder"] = byteorder
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def write_legacy(path: Path, value: object, storages: dict[str, tuple[int, bytes]], protocol: int = 1001) -> Path:
    """The form used before 1.6; each storage with the count that is announced for it."""
    out = io.BytesIO()
    machine = {"protocol_version": 1001, "little_endian": True}
    for part in (0x1950A86A20F9469CFC6C, protocol, machine, value, list(storages)):
        out.write(pickled(part))
    for count, data in storages.values():
        out.write(struct.pack("<q", count) + data)
    path.write_bytes(out.getvalue())
    return path
