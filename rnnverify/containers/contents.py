"""What a container holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rnnverify.canonical import Array

FrameworkName = Literal["keras", "torch", "tensorflow", "flax", "equinox", "onnx"]


@dataclass(frozen=True)
class StoredTensor:
    """One array of a file, as its framework shaped it. Its header is known; its values are read on demand.

    `dtype` is the stored one, by NumPy's name or `bfloat16`. `read()` returns a native-endian array of `shape`;
    bfloat16, which NumPy lacks, comes as the float32 of equal value. It raises `FileError` where data is damaged.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Array]


@dataclass(frozen=True)
class Contents:
    """A file taken apart: its tensors by name, in the order in which the file lists them, and what it states."""

    path: Path  # the file, or for a TensorFlow checkpoint its prefix
    form: str  # the container, as the report names it: "HDF5", "Keras zip", "PyTorch zip", ...
    framework: FrameworkName | None  # who wrote it, where the form tells; None: any adapter may claim the names
    tensors: Mapping[str, StoredTensor]
    writer: str = ""  # framework and version that wrote it, as far as the file says: "Keras 2.2.4, tensorflow backend"
    metadata: Mapping[str, object] = field(default_factory=dict)  # what else the file states; keys are the form's own
    notes: tuple[str, ...] = ()  # what the user should know about the reading
