"""safetensors: eight bytes for the length of a JSON header, the header, and the numbers, which fill the rest.

The header maps each tensor's name to `dtype`, `shape` and `data_offsets` (begin, end) behind the header; the
key `__metadata__` maps text to text. Everything is little-endian and in row-major order, and the spans lie
side by side without a gap or an overlap (safetensors/README.md, 0.8.0). The bounds are the ones of its Rust
reader.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, FrameworkName, StoredTensor
from rnnverify.containers.flax_names import are_of_flax
from rnnverify.containers.raw_span import decode, itemsize, read_span
from rnnverify.errors import FileError, UnsupportedError, printable

_MAX_HEADER = 100_000_000  # safetensors/src/tensor.rs, MAX_HEADER_SIZE
_AGAIN = "copy or download it again"

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def read(path: Path) -> Contents:
    """The tensors of one safetensors file; their values are read on demand.

    Raises FileError where the header or the sizes are not what the format demands.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "check the path") from error
    if size < 8:
        raise FileError(path, f"has {size} bytes, too few for a safetensors header", _AGAIN)
    length = int.from_bytes(read_span(path, 0, 8).tobytes(), "little")
    if length > min(_MAX_HEADER, size - 8):
        raise FileError(path, f"announces a header of {length} bytes, but has {size} in all", _AGAIN)
    header = _header(path, read_span(path, 8, length).tobytes())
    metadata = header.pop("__metadata__", {})
    start = 8 + length
    spans = {name: _span(path, name, entry) for name, entry in header.items()}
    _check_side_by_side(path, list(spans.values()), size - start)
    tensors = {
        name: StoredTensor(name, _shape(entry), _dtype(entry), _reader(path, name, entry, start, spans[name]))
        for name, entry in header.items()
    }
    framework: FrameworkName | None = "flax" if are_of_flax(tensors) else None
    return Contents(path, "safetensors", framework, tensors, metadata={"__metadata__": metadata})


def _header(path: Path, text: bytes) -> dict[str, dict[str, object]]:
    """Tensor name to its entry, of the right types."""

    def no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = dict(pairs)
        if len(names) != len(pairs):
            raise ValueError("two entries of one name")
        return names

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=no_repeats)
    except (ValueError, RecursionError) as error:
        raise FileError(path, "its safetensors header is no sound JSON", _AGAIN) from error
    if not isinstance(header, dict):
        raise FileError(path, "its safetensors header is no JSON object", _AGAIN)
    for name, entry in header.items():
        if name == "__metadata__":
            sound = isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values())
        else:
            sound = (
                isinstance(entry, dict)
                and entry.keys() == {"dtype", "shape", "data_offsets"}
                and isinstance(entry["dtype"], str)
                and _sizes(entry["shape"], range(33))
                and _sizes(entry["data_offsets"], range(2, 3))
            )
        if not sound:
            raise FileError(path, f"its safetensors header describes {printable(name, 80)} unsoundly", _AGAIN)
    return header


def _sizes(value: object, lengths: range) -> bool:
    """Whether `value` is a list of sizes that fit into 64 bits, its own length one of `lengths`."""
    return isinstance(value, list) and len(value) in lengths and all(type(n) is int and 0 <= n < 1 << 63 for n in value)


def _shape(entry: dict[str, object]) -> tuple[int, ...]:
    shape = entry["shape"]
    return tuple(shape) if isinstance(shape, list) else ()


def _dtype(entry: dict[str, object]) -> str:
    return _DTYPES.get(str(entry["dtype"]), str(entry["dtype"]))


def _span(path: Path, name: str, entry: dict[str, object]) -> tuple[int, int]:
    """(begin, end) of a tensor behind the header, which its shape and dtype must fill."""
    offsets = entry["data_offsets"]
    begin, end = offsets if isinstance(offsets, list) else (0, 0)
    size, count = itemsize(_dtype(entry)), math.prod(_shape(entry))
    if begin > end or (size is not None and count * size != end - begin):
        found = f"{printable(name, 80)} of {count} {printable(entry['dtype'], 20)} has {end - begin} bytes"
        raise FileError(path, found, _AGAIN)
    return begin, end


def _check_side_by_side(path: Path, spans: list[tuple[int, int]], size: int) -> None:
    """FileError unless the spans cover the `size` bytes behind the header, each byte once."""
    reached = 0
    for begin, end in sorted(spans):
        if begin != reached:
            raise FileError(path, f"byte {min(begin, reached)} of its data belongs to no tensor or to two", _AGAIN)
        reached = end
    if reached != size:
        found = f"its tensors take {reached} bytes, but {size} are there"
        raise FileError(path, found, ("it is truncated: " if reached > size else "it is damaged: ") + _AGAIN)


def _reader(path: Path, name: str, entry: dict[str, object], start: int, span: tuple[int, int]) -> Callable[[], Array]:
    dtype, shape = _dtype(entry), _shape(entry)

    def values() -> Array:
        if itemsize(dtype) is None:
            raise UnsupportedError(path, f"{printable(name)} is {printable(dtype, 20)}", "save it as a float tensor")
        return decode(read_span(path, start + span[0], span[1] - span[0]), dtype).reshape(shape)

    return values
