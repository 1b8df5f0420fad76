"""The canonical network as cells of Flax's nnx hold it: without a bias in the recurrent half of a GRU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rnnverify.adapters.flax import layout as flax_layout
from rnnverify.adapters.layout import Layout
from rnnverify.canonical import Network


def lay_out(network: Network, target: Path, names: Sequence[str] = ()) -> Layout:
    """As `flax_layout.lay_out`, for nnx.SimpleCell, nnx.GRUCell and nnx.LSTMCell."""
    return flax_layout.lay_out(network, target, names, "nnx")
