"""The canonical network to a framework's layout: the inverse of `read_network`. One module per framework.

A new framework is one module with `lay_out(network, target, names) -> Layout`, and a line in `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol, cast

from rnnverify.adapters.layout import Layout
from rnnverify.canonical import Network
from rnnverify.containers.contents import FrameworkName

__all__ = ["LAYOUTS", "Layout", "LayoutName", "lay_out"]

LayoutName = FrameworkName | Literal["nnx"]
"""A framework, whose first interface is meant where it has two, or the other one."""

LAYOUTS: dict[LayoutName, str] = {
    "keras": "rnnverify.adapters.keras.layout",
    "torch": "rnnverify.adapters.torch.layout",
    "tensorflow": "rnnverify.adapters.tensorflow.layout",
    "flax": "rnnverify.adapters.flax.layout",
    "nnx": "rnnverify.adapters.flax.nnx_layout",
    "equinox": "rnnverify.adapters.equinox.layout",
    "onnx": "rnnverify.adapters.onnx.layout",
}
"""Framework to the module of its layout, imported when a network is laid out so."""


class Layouter(Protocol):
    """What the module of a framework's layout offers."""

    def lay_out(self, network: Network, target: Path, names: Sequence[str] = ()) -> Layout:
        """`network` as the framework holds it. Raises UnsupportedError, about `target`, for what it cannot."""


def lay_out(network: Network, framework: LayoutName, target: Path, names: Sequence[str] = ()) -> Layout:
    """`network` in the layout of `framework`; `names` are what its objects are called there, one a layer of `network`.

    Raises UnsupportedError, about `target`, for what the framework cannot hold.
    """
    return cast(Layouter, import_module(LAYOUTS[framework])).lay_out(network, target, names)
