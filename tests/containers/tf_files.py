"""Writes small TensorFlow checkpoints byte by byte, so that tests can write broken ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.crc32c import masked_crc32c

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
DTYPES = {"float32": 1, "float64": 2, "int32": 3, "string": 7, "bool": 10, "bfloat16": 14, "float16": 19}


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def block(entries: Sequence[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    """A block with its trailer; each key shares what it can with the one before."""
    out, last = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(last)) and key[shared] == last[shared]:
            shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    out += bytes(4) + (1).to_bytes(4, "little")
    if compression == 1:  # Snappy, as one literal
        out = varint(len(out)) + bytes([61 << 2]) + (len(out) - 1).to_bytes(2, "little") + out
    out += bytes([compression])
    return out + masked_crc32c(out).to_bytes(4, "little")


def table(entries: Mapping[bytes, bytes], per_block: int = 2, compression: int = 0) -> bytes:
    items = sorted(entries.items())
    body, index = b"", []
    for start in range(0, len(items), per_block):
        data = block(items[start : start + per_block], compression)
        last = items[min(start + per_block, len(items)) - 1][0]
        index.append((last, varint(len(body)) + varint(len(data) - 5)))
        body += data
    meta, top = block([]), block(index)
    handles = varint(len(body)) + varint(len(meta) - 5) + varint(len(body + meta)) + varint(len(top) - 5)
    return body + meta + top + handles.ljust(40, b"\0") + MAGIC


def shape(sizes: Sequence[int]) -> bytes:
    return b"".join(chunk(2, number(1, size)) for size in sizes)


def entry(array: Array, offset: int, dtype: str = "", crc: int | None = None) -> bytes:
    """A BundleEntryProto."""
    data = array.tobytes()
    crc = masked_crc32c(data) if crc is None else crc
    return (
        number(1, DTYPES[dtype or array.dtype.name])
        + chunk(2, shape(array.shape))
        + number(4, offset)
        + number(5, len(data))
        + varint(6 << 3 | 5)
        + crc.to_bytes(4, "little")
    )


def write_v2(
    prefix: Path, tensors: Mapping[str, Array], big_endian: bool = False, extra: Mapping[bytes, bytes] | None = None
) -> Path:
    data, entries = b"", {b"": number(1, 1) + number(2, int(big_endian))}
    for name, array in tensors.items():
        stored = array.astype(array.dtype.newbyteorder(">" if big_endian else "<"))
        dtype = "bfloat16" if array.dtype == np.uint16 else array.dtype.name
        entries[name.encode()] = entry(stored, len(data), dtype)
        data += stored.tobytes()
    prefix.with_name(prefix.name + ".index").write_bytes(table({**entries, **(extra or {})}))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)
    return prefix
