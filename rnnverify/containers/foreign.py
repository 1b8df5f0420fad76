"""Model forms that are known, and not read: they are refused by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rnnverify.errors import UnsupportedError

_ADVICE = "run it in its own runtime, and give what it did as a trace: an .npz with x (B, T, I) and y (B, T, F)"


def refuse_file(path: Path, start: bytes) -> None:
    """Raise UnsupportedError where the first bytes of the file at `path` are those of a form that is not read."""
    if start[4:8] == b"ORTM":
        found = "is an ONNX model in onnxruntime's own format, which this version does not read"
        raise UnsupportedError(path, found, "give the .onnx that it was made from")
    if _is_msgpack(start):
        raise _unsupported(path, "is MessagePack, as Flax writes it")


def refuse_directory(path: Path) -> None:
    """Raise UnsupportedError where the directory `path` is of a form that is not read."""
    if (path / "manifest.ocdbt").is_file() or (path / "_CHECKPOINT_METADATA").is_file():
        raise _unsupported(path, "is an Orbax checkpoint, as Flax writes it")


def refuse_npz(path: Path, members: Iterable[str]) -> None:
    """Raise UnsupportedError where the .npz at `path` holds parameters by their place in a tree, as Flax names them."""
    if any(name.endswith(("/kernel.npy", "/bias.npy")) for name in members):
        raise _unsupported(path, "is an .npz of named weights, as Flax models are kept")


def _unsupported(path: Path, found: str) -> UnsupportedError:
    return UnsupportedError(path, f"{found}, which this version does not read", _ADVICE)


def _is_msgpack(start: bytes) -> bool:
    """A map whose first key is a short text (msgpack/spec.md): what flax.serialization.to_bytes writes of a state."""
    key = start[1:2] if 0x80 < (start or b"\0")[0] < 0x90 else start[3:4] if start[:1] == b"\xde" else b""
    return bool(key) and (0xA0 <= key[0] < 0xC0 or key == b"\xd9")
