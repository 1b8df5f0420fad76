"""Model forms that are known, and not read: they are refused by name."""

from __future__ import annotations

from pathlib import Path

from rnnverify.errors import UnsupportedError

_ADVICE = "run it in its own runtime, and give what it did as a trace: an .npz with x (B, T, I) and y (B, T, F)"


def refuse_file(path: Path, start: bytes) -> None:
    """Raise UnsupportedError where the first bytes of the file at `path` are those of a form that is not read."""
    if _is_onnx(start):
        raise _unsupported(path, "is an ONNX model")


def _unsupported(path: Path, found: str) -> UnsupportedError:
    return UnsupportedError(path, f"{found}, which this version does not read", _ADVICE)


def _is_onnx(start: bytes) -> bool:
    """ModelProto begins with ir_version, below 32 so far, and producer_name or opset_import (onnx/onnx.proto, 1.21)."""
    return len(start) > 3 and start[0] == 0x08 and start[1] < 32 and start[2] in (0x12, 0x42)
