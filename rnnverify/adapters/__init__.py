"""Frameworks' layouts: named arrays to the canonical network. One folder per framework, no framework imported.

A new framework is one folder whose `adapter` has `read(contents, selector) -> Reading`, and a line in `ADAPTERS`. The
folder `graph` has what graphs of TensorFlow say beside any checkpoint, `jax` what Flax and Equinox share.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.containers.contents import Contents, FrameworkName

__all__ = ["ADAPTERS", "Reading", "Recipe", "read_network", "restate"]

ADAPTERS: dict[FrameworkName, str] = {
    "keras": "rnnverify.adapters.keras.adapter",
    "torch": "rnnverify.adapters.torch.adapter",
    "tensorflow": "rnnverify.adapters.tensorflow.adapter",
    "onnx": "rnnverify.adapters.onnx.adapter",
    "flax": "rnnverify.adapters.flax.adapter",
    "equinox": "rnnverify.adapters.equinox.adapter",
}
"""Framework to its module, imported when a file of it is read."""


class Adapter(Protocol):
    """What the module of a framework offers."""

    def read(self, contents: Contents, selector: str | None) -> Reading:
        """The recurrent part that `selector` names, or the only one. Raises FileError and SelectorError."""


def read_network(contents: Contents, framework: FrameworkName | None, selector: str | None) -> Reading:
    """Read `contents` as `framework` lays it out; None: as the form says, PyTorch where it does not."""
    adapter = cast(Adapter, import_module(ADAPTERS[framework or contents.framework or "torch"]))
    return adapter.read(contents, selector)


def restate(reading: Reading, merge: str | None, go_backwards: bool | None) -> Reading:
    """A reading of weights alone under another merge mode or direction; ValueError where sizes break."""
    changed: Reading = import_module(ADAPTERS[reading.recipe.framework]).restate(reading, merge, go_backwards)
    return changed
