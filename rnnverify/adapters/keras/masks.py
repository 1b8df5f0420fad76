"""Masks of a Keras model: which steps its recurrent layers skip, as far as their inputs tell.

`Masking(mask_value)` masks a step where every feature equals the value (keras/layers/core.py up to 2.15,
keras/src/layers/core/masking.py in Keras 3); the recurrent layers that read it hold their state there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rnnverify.adapters.keras.config import Address, Placed


@dataclass(frozen=True)
class Mask:
    """What a Masking layer says of the inputs of the recurrent layer that reads it."""

    title: str
    value: float


def masking(placed: Sequence[Placed]) -> tuple[str, ...]:
    """The titles of all layers that mask steps."""
    return tuple(layer.title for layer in placed if layer.class_name == "Masking" or layer.config.get("mask_zero"))


def masks(placed: Sequence[Placed]) -> dict[Address, Mask]:
    """For each recurrent layer that reads its sequences through a Masking layer: its mask."""
    by_path = {layer.path: layer for layer in placed}
    found = {layer.path: _above(layer, by_path) for layer in placed if layer.recurrent}
    return {path: mask for path, mask in found.items() if mask is not None}


def _above(layer: Placed, by_path: Mapping[Address, Placed]) -> Mask | None:
    """The mask that feeds `layer`, past layers that hand sequences on as they are."""
    climbed = 0
    while len(layer.feeds) == 1 and layer.feeds[0][0] in by_path and climbed < len(by_path):
        layer, climbed = by_path[layer.feeds[0][0]], climbed + 1
        if not layer.passes_through:
            return None
        if layer.class_name == "Masking":
            value = layer.config.get("mask_value", 0.0)
            return Mask(layer.title, float(value)) if isinstance(value, (int, float)) else None
    return None
