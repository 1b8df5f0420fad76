"""Contents made of arrays, for tests of names and shapes."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, StoredTensor

rng = np.random.default_rng(0)


def holding(tensors: Mapping[str, Array], dtype: str = "") -> Contents:
    def stored(name: str, array: Array) -> StoredTensor:
        return StoredTensor(name, array.shape, dtype or array.dtype.name, lambda: array)

    return Contents(Path("m"), "TensorFlow checkpoint V2", "tensorflow", {n: stored(n, a) for n, a in tensors.items()})


def cell(scope: str, I: int, H: int, kernel: str = "kernel", bias: str = "bias") -> dict[str, Array]:
    weights = rng.normal(size=(I + H, H)).astype(np.float32)
    return {f"{scope}/{kernel}": weights, f"{scope}/{bias}": rng.normal(size=H).astype(np.float32)}
