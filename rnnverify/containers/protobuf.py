"""As much of the protocol buffer wire format as checkpoints need (protobuf.dev, "Encoding").

A message is taken apart one level deep: a nested message is a field of bytes until somebody parses it, so no
depth of nesting in a file can matter. Every length is checked against the bytes that are there.
"""

from __future__ import annotations

from dataclasses import dataclass

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZE = {_FIXED64: 8, _FIXED32: 4}


class MalformedError(ValueError):
    """Bytes that are not what the format says. The caller knows the file, and says so with a `FileError`."""


def read_varint(data: memoryview | bytes, at: int) -> tuple[int, int]:
    """The unsigned 64-bit varint at `at`, and where it ends. Raises `MalformedError`."""
    value = 0
    for k in range(10):
        if at + k >= len(data):
            raise MalformedError("a number is cut off")
        octet = data[at + k]
        value |= (octet & 0x7F) << 7 * k
        if octet < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + k + 1
    raise MalformedError("a number is longer than 64 bits")


def signed(value: int) -> int:
    """A varint as the int32 or int64 that it stands for."""
    return value - (1 << 64) if value >> 63 else value


@dataclass(frozen=True)
class Message:
    """One message: its fields by number, each a list of values in the order in which they came."""

    numbers: dict[int, list[int]]
    chunks: dict[int, list[memoryview]]

    def number(self, field: int) -> int:
        """The last value of a signed integer field; 0, as protobuf has it, where there is none."""
        return signed(self.numbers.get(field, [0])[-1])

    def chunk(self, field: int) -> memoryview:
        """The last value of a bytes, string or message field; empty where there is none."""
        return self.chunks.get(field, [memoryview(b"")])[-1]

    def text(self, field: int) -> str:
        """The last value of a string field. Raises `MalformedError` where it is not UTF-8."""
        try:
            return bytes(self.chunk(field)).decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedError("a text is not UTF-8") from error

    def message(self, field: int) -> Message:
        """The last value of a message field, parsed."""
        return parse(self.chunk(field))

    def messages(self, field: int) -> list[Message]:
        """Every value of a repeated message field, parsed."""
        return [parse(chunk) for chunk in self.chunks.get(field, [])]


def parse(data: memoryview | bytes, cut: bool = False) -> Message:
    """The message in `data`. Raises `MalformedError`.

    With `cut`, `data` may be the beginning of a longer message: its last field then ends where the data does.
    """
    view, at = memoryview(data), 0
    message = Message({}, {})
    while at < len(view):
        key, at = read_varint(view, at)
        field, wire = key >> 3, key & 7
        if not 0 < field < 1 << 29:
            raise MalformedError(f"there is no field {field}")
        if wire == _VARINT:
            value, at = read_varint(view, at)
            message.numbers.setdefault(field, []).append(value)
            continue
        if wire == _BYTES:
            size, at = read_varint(view, at)
        elif wire in _FIXED_SIZE:
            size = _FIXED_SIZE[wire]
        else:
            raise MalformedError(f"field {field} has wire type {wire}")
        if size > len(view) - at:
            if cut and wire == _BYTES:
                size = len(view) - at
            else:
                raise MalformedError(f"field {field} announces {size} bytes where {len(view) - at} are left")
        chunk, at = view[at : at + size], at + size
        if wire == _BYTES:
            message.chunks.setdefault(field, []).append(chunk)
        else:
            message.numbers.setdefault(field, []).append(int.from_bytes(chunk, "little"))
    return message
