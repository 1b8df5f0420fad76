"""Arrays in `.npz` and `.npy` files from strangers: mapped where they can be, bounded where not, never unpickled."""

from __future__ import annotations

import mmap
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from rnnverify.canonical import Array
from rnnverify.errors import FileError, printable

DAMAGED = (
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    MemoryError,
    OverflowError,
    RecursionError,
    RuntimeError,
    SyntaxError,
    NotImplementedError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy and zipfile raise for damaged headers and archives."""

_INFLATED = 2**24  # bytes; what is larger, and a hundred times what it was, is a bomb


def open_npz(path: Path) -> dict[str, Array]:
    """The arrays of an `.npz` by name: stored members are memory-mapped, deflated ones read where they are small.

    Raises FileError for a damaged archive, object arrays, and sizes that the file does not hold.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            return {info.filename[:-4]: _member(path, archive, info) for info in members}
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "check the path and its permissions") from error
    except DAMAGED as error:
        raise FileError(path, "is no intact .npz archive", "it may be truncated: write it again") from error


def open_npy(path: Path) -> Array:
    """The array of an `.npy`, memory-mapped. Raises FileError as `open_npz` does."""
    try:
        with path.open("rb") as file:
            shape, fortran, dtype = _header(file)
            offset = file.tell()
    except DAMAGED as error:
        raise FileError(path, "is no readable .npy array", "write it again with numpy.save") from error
    _check_dtype(path, path.name, dtype)
    return _map(path, path.name, offset, shape, fortran, dtype)


def open_npys(path: Path, start: int = 0) -> list[Array]:
    """The arrays of `.npy` files that lie one after another from byte `start`. Raises FileError as `open_npz` does."""
    found: list[Array] = []
    size = path.stat().st_size
    with path.open("rb") as file:
        while start < size or not found:
            name = f"array {len(found)}"
            try:
                file.seek(start)
                shape, fortran, dtype = _header(file)
            except DAMAGED as error:
                raise FileError(path, f"{name} is no readable .npy array", "write the file again") from error
            _check_dtype(path, name, dtype)
            found.append(_map(path, name, file.tell(), shape, fortran, dtype))
            start = file.tell() + _bytes(shape, dtype)
    return found


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran, dtype = read(stream)
    if any(isinstance(n, bool) or n < 0 for n in shape) or len(shape) > 32:
        raise ValueError(f"shape {shape}")
    return shape, fortran, dtype


def _check_dtype(path: Path, name: str, dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        found = f"{printable(name)} holds pickled objects, which are never opened"
        raise FileError(path, found, "store plain float arrays")


def _bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return dtype.itemsize * int(np.prod(shape, dtype=object))


def _map(path: Path, name: str, offset: int, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]) -> Array:
    size = _bytes(shape, dtype)
    there = path.stat().st_size - offset
    if size > there:
        found = f"{printable(name)} announces {size} bytes, and {there} are there"
        raise FileError(path, found, "the file is damaged: write it again")
    order = "F" if fortran else "C"
    try:
        if size == 0:
            return np.zeros(shape, dtype)
        return np.memmap(path, dtype, "r", offset, tuple(shape), order)  # type: ignore[call-overload, no-any-return]
    except ValueError as error:  # an axis or a product of axes that no array has, beside an empty one
        found = f"{printable(name)} announces the shape {shape}, which no array has"
        raise FileError(path, found, "the file is damaged: write it again") from error


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    name = printable(info.filename)
    stored = info.compress_type == zipfile.ZIP_STORED
    if not stored and info.compress_type != zipfile.ZIP_DEFLATED:
        raise FileError(path, f"{name} is compressed in a way that NumPy never uses", "write it with numpy.savez")
    if not stored and info.file_size > max(_INFLATED, 100 * info.compress_size):
        found = f"{name} inflates {info.compress_size} bytes to {info.file_size}"
        raise FileError(path, found, "store it uncompressed with numpy.savez")
    try:
        with archive.open(info) as stream:
            shape, fortran, dtype = _header(stream)
            header = stream.tell()
            _check_dtype(path, info.filename, dtype)
            announced = header + _bytes(shape, dtype)
            if announced != info.file_size:
                found = f"{name} announces {announced} bytes, and holds {info.file_size}"
                raise FileError(path, found, "the file is damaged: write it again")
            if not stored or dtype.kind == "U":
                data = stream.read(info.file_size)
                order = "F" if fortran else "C"
                return np.frombuffer(data, dtype).reshape(shape, order=order)  # type: ignore[call-overload, no-any-return]
    except DAMAGED as error:
        raise FileError(path, f"{name} is no readable array", "write the file again with numpy.savez") from error
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name_length, extra_length = struct.unpack("<HH", file.read(4))
    offset = info.header_offset + 30 + name_length + extra_length + header
    return _map(path, info.filename, offset, shape, fortran, dtype)


def release(array: Array) -> None:
    """Let go of the pages of a memory-mapped array: they count as this process's memory until then, and read again."""
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    mapped: Any = getattr(base, "_mmap", None)
    if hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)
