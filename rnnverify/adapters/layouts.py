"""The canonical network to a framework's layout: the inverse of `read_network`. One module per framework.

A new framework is one module with `lay_out(network, target, names) -> Layout`, and a line in `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from rnnverify.adapters.layout import Layout
from rnnverify.canonical import CellKind, Network
from rnnverify.containers.contents import FrameworkName
from rnnverify.errors import UnsupportedError

__all__ = ["LAYOUTS", "Layout", "lay_out"]

LAYOUTS: dict[FrameworkName, str] = {
    "keras": "rnnverify.adapters.keras_layout",
    "torch": "rnnverify.adapters.torch_layout",
    "tensorflow": "rnnverify.adapters.tensorflow_layout",
}
"""Framework to the module of its layout, imported when a network is laid out so."""

_WRITTEN: dict[FrameworkName, tuple[CellKind, ...]] = {
    "keras": ("rnn", "gru", "lstm"),
    "torch": ("rnn", "gru", "lstm"),
    "tensorflow": ("rnn", "gru", "lstm"),
}
"""The kinds of cells that a framework's layout takes; only vanilla ones where it is not named."""


class Layouter(Protocol):
    """What the module of a framework's layout offers."""

    def lay_out(self, network: Network, target: Path, names: Sequence[str] = ()) -> Layout:
        """`network` as the framework holds it. Raises UnsupportedError, about `target`, for what it cannot."""


def lay_out(network: Network, framework: FrameworkName, target: Path, names: Sequence[str] = ()) -> Layout:
    """`network` in the layout of `framework`; `names` are what its objects are called there, one a layer of `network`.

    Raises UnsupportedError, about `target`, for cells that are not written yet, and for what the framework cannot hold.
    """
    for k, layer in enumerate(network.layers):
        if layer.cell not in _WRITTEN[framework]:
            found = f"layer {k} has cells of the kind {layer.cell}, which this version does not write"
            raise UnsupportedError(target, found, "convert a network of vanilla cells")
    return cast(Layouter, import_module(LAYOUTS[framework])).lay_out(network, target, names)
