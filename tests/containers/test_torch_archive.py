"""Members of PyTorch's zip: bounded, held against their checksums, and never taken out to disk."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from rnnverify.containers.torch_archive import open_archive
from rnnverify.errors import FileError, UnsupportedError


def zipped(members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_text_may_be_deflated_and_numbers_may_not(tmp_path: Path, kind: int) -> None:
    archive = open_archive(write(tmp_path / "m.pt", zipped({"a/code.py": b"x" * 100}, kind)))
    assert archive.text("a/code.py") == b"x" * 100
    if kind == zipfile.ZIP_STORED:
        assert archive.data("a/code.py").tobytes() == b"x" * 100
    else:
        with pytest.raises(UnsupportedError, match="compressed"):
            archive.data("a/code.py")


def test_text_is_bounded_before_it_is_inflated(tmp_path: Path) -> None:
    bomb = zipped({"a/code.py": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(FileError, match="has 1048576 bytes, more than the 1000"):
        open_archive(write(tmp_path / "m.pt", bomb)).text("a/code.py", 1000)
    lying = bomb.replace((1 << 20).to_bytes(4, "little"), (1 << 9).to_bytes(4, "little"))
    with pytest.raises(FileError, match="damaged"):
        open_archive(write(tmp_path / "m.pt", lying)).text("a/code.py", 1000)


def test_damaged_and_unusual_compression_is_one_clear_error(tmp_path: Path) -> None:
    data = bytearray(zipped({"a/code.py": b"text " * 100}, zipfile.ZIP_DEFLATED))
    data[39] ^= 255  # the first byte behind the header and the name
    with pytest.raises(FileError, match="damaged"):
        open_archive(write(tmp_path / "m.pt", bytes(data))).text("a/code.py")
    odd = zipped({"a/code.py": b"text " * 100}, zipfile.ZIP_BZIP2)
    with pytest.raises(UnsupportedError, match="unusual"):
        open_archive(write(tmp_path / "m.pt", odd)).text("a/code.py")


def test_a_zip_inside_is_read_where_it_lies(tmp_path: Path) -> None:
    inner = zipped({"b/data.pkl": b"inner"})
    archive = open_archive(write(tmp_path / "m.pt2", zipped({"a/first": b"x" * 77, "a/inner.pt": inner})))
    assert archive.inside("a/inner.pt").data("b/data.pkl").tobytes() == b"inner"
    with pytest.raises(FileError, match="its member a/first is no intact zip"):
        archive.inside("a/first")


@pytest.mark.parametrize(("order", "big"), [(b"big", True), (b"little", False), (None, False)])
def test_the_byte_order_is_little_unless_said(tmp_path: Path, order: bytes | None, big: bool) -> None:
    members = {} if order is None else {"a/byteorder": order}
    assert open_archive(write(tmp_path / "m.pt", zipped(members))).big_endian("a/byteorder") is big
