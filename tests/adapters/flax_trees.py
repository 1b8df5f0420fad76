"""Parameters as Flax and Equinox name and shape them, with random numbers, as the contents of a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, FrameworkName, StoredTensor

LINEN = {
    "SimpleCell": ("i", "h", "i"),
    "GRUCell": ("ir iz in", "hr hz hn", "ir iz in hn"),
    "LSTMCell": ("ii if ig io", "hi hf hg ho", "hi hf hg ho"),
}
NNX = {
    "SimpleCell": ("dense_i", "dense_h", "dense_i", 1),
    "GRUCell": ("dense_i", "dense_h", "dense_i", 3),
    "OptimizedLSTMCell": ("dense_i", "dense_h", "dense_h", 4),
    "LSTMCell": ("ii if_ ig io", "hi hf hg ho", "hi hf hg ho", 1),
}


def tree(
    over_x: str, over_h: str, biases: str, wide: int = 1, *, I: int = 3, H: int = 2, scope: str = ""
) -> dict[str, Array]:
    """{scope/module/kind: array}: kernels (I, wide * H) and (H, wide * H), biases (wide * H,)."""
    rng = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {f"{name}/kernel": (I, wide * H) for name in over_x.split()}
    shapes |= {f"{name}/kernel": (H, wide * H) for name in over_h.split()}
    shapes |= {f"{name}/bias": (wide * H,) for name in biases.split()}
    start = f"{scope}/" if scope else ""
    return {start + name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def linen(name: str, *, I: int = 3, H: int = 2, scope: str = "params/cell") -> dict[str, Array]:
    return tree(*LINEN[name], I=I, H=H, scope=scope)


def nnx(name: str, *, I: int = 3, H: int = 2, scope: str = "cell") -> dict[str, Array]:
    return tree(*NNX[name], I=I, H=H, scope=scope)


def contents(arrays: Mapping[str, Array], framework: FrameworkName = "flax", dtype: str = "") -> Contents:
    def stored(name: str, array: Array) -> StoredTensor:
        return StoredTensor(name, array.shape, dtype or array.dtype.name, lambda: array)

    return Contents(Path("model"), "test", framework, {name: stored(name, array) for name, array in arrays.items()})
