"""Forms that are known, and not read, are refused by name; others are not mistaken for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnverify.containers import form_of
from rnnverify.errors import FileError, UnsupportedError


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x10\0\0\0ORTM" + bytes(64), "is an ONNX model in onnxruntime's own format"),
    ],
)
def test_a_file_of_a_known_form_is_named(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(data)
    with pytest.raises(UnsupportedError, match=f"{words}.*which this version does not read; give"):
        form_of(path)


@pytest.mark.parametrize(
    "data", [b"text", b"\x08\x60\x12\x07", b"\x08", b"\x81", b"\x81\x00\xa6", b"\xde", b"\x0a\x2a\x0a"]
)
def test_others_are_not_mistaken_for_them(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(data)
    with pytest.raises(FileError) as caught:
        form_of(path)
    assert not isinstance(caught.value, UnsupportedError)
