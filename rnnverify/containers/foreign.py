"""Model forms that are known, and not read: they are refused by name."""

from __future__ import annotations

from pathlib import Path

from rnnverify.errors import UnsupportedError


def refuse_file(path: Path, start: bytes) -> None:
    """Raise UnsupportedError where the first bytes of the file at `path` are those of a form that is not read."""
    if start[4:8] == b"ORTM":
        found = "is an ONNX model in onnxruntime's own format, which this version does not read"
        raise UnsupportedError(path, found, "give the .onnx that it was made from")
