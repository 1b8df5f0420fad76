"""The zip that PyTorch writes: stored members under one folder, their names, bytes and checksums.

torch.save, torch.jit.save and torch.export.save share it (caffe2/serialize/inline_container.h, 1.0.0 to 2.13.0):
numbers are stored uncompressed at multiples of 64 bytes, only source text is deflated. Nothing is taken out to disk.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rnnverify.canonical import Array
from rnnverify.containers.raw_span import read_span
from rnnverify.errors import FileError, UnsupportedError, printable

AGAIN = "copy or download it again"
MAX_TEXT = 64 << 20  # bytes of a pickle's, a graph's or a source text's; the numbers lie beside them


@dataclass(frozen=True)
class Archive:
    """A zip, or one that lies as a stored member in another."""

    path: Path
    members: Mapping[str, zipfile.ZipInfo]
    start: int = 0  # where the zip begins in the file

    def data(self, name: str) -> Array:
        """(bytes,) uint8 of a stored member, its checksum compared. FileError, or UnsupportedError for a compressed or
        encrypted one. torch.save records 0 for every checksum after `torch.serialization.set_crc32_options(False)`:
        then there is none.
        """
        member = self.members[name]
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            found = f"its member {printable(name)} is compressed, which torch.save never does"
            raise UnsupportedError(self.path, found, "save it again with torch.save")
        offset, size = self._span(member)
        data = read_span(self.path, offset, size)
        self._check(member, data.data)
        return data

    def text(self, name: str, limit: int = MAX_TEXT) -> bytes:
        """The bytes of a member, stored or deflated, of at most `limit` bytes."""
        member = self.members[name]
        shown = printable(name)
        if member.file_size > limit:
            found = f"its {shown} has {member.file_size} bytes, more than the {limit} that it may have"
            raise FileError(self.path, found, "save it again")
        if member.compress_type == zipfile.ZIP_STORED:
            return self.data(name).tobytes()
        if member.compress_type != zipfile.ZIP_DEFLATED:
            raise UnsupportedError(self.path, f"its member {shown} is compressed in an unusual way", "save it again")
        try:
            inflated = zlib.decompressobj(-15).decompress(read_span(self.path, *self._span(member)).tobytes(), limit)
        except zlib.error as error:
            raise FileError(self.path, f"its member {shown} cannot be inflated: damaged", AGAIN) from error
        self._check(member, inflated)
        return inflated

    def inside(self, name: str) -> Archive:
        """The zip that is stored as the member `name`."""
        data = self.data(name)
        offset, _ = self._span(self.members[name])
        return Archive(self.path, _members(self.path, io.BytesIO(data.data), name), offset)

    def big_endian(self, name: str) -> bool:
        """Whether the member `name`, `byteorder`, says big; without it, no."""
        if name not in self.members:
            return False
        order = self.text(name, 16)
        if order not in (b"little", b"big"):
            raise FileError(self.path, f"its byteorder is {printable(order)}, neither little nor big", AGAIN)
        return order == b"big"

    def _span(self, member: zipfile.ZipInfo) -> tuple[int, int]:
        """Offset and size of a member as it lies in the file."""
        if member.flag_bits & 1:
            raise UnsupportedError(
                self.path, f"its member {printable(member.filename)} is encrypted", "decrypt the archive first"
            )
        offset = self.start + member.header_offset
        header = read_span(self.path, offset, 30).tobytes()
        if header[:4] != b"PK\x03\x04":
            found = f"its member {printable(member.filename)} is not where the zip's directory says"
            raise FileError(self.path, found, AGAIN)
        name_length, extra_length = struct.unpack("<HH", header[26:])
        return offset + 30 + name_length + extra_length, member.compress_size

    def _check(self, member: zipfile.ZipInfo, data: bytes | memoryview) -> None:
        if len(data) != member.file_size or (member.CRC and zlib.crc32(data) != member.CRC):
            found = f"its member {printable(member.filename)} does not match its checksum: damaged"
            raise FileError(self.path, found, AGAIN)


def open_archive(path: Path) -> Archive:
    """The zip at `path`. FileError where it has no intact directory, or two members of one name."""
    return Archive(path, _members(path, path))


def _members(path: Path, source: Path | io.BytesIO, name: str = "") -> dict[str, zipfile.ZipInfo]:
    shown = f"its member {printable(name)} " if name else ""
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError, struct.error) as error:
        raise FileError(path, f"{shown}is no intact zip archive, truncated or damaged", AGAIN) from error
    by_name = {member.filename: member for member in members}
    if len(by_name) != len(members):
        raise FileError(path, f"{shown}is a zip archive with two members of one name", "save it again with torch.save")
    return by_name
