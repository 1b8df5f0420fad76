"""A layer of one direction that turns out to run the other way: what an adapter changes when it is told so."""

from __future__ import annotations

from dataclasses import replace

from rnnverify.canonical import Layer


def turned(layer: Layer, backwards: bool) -> Layer:
    """Keras and Flax hand the outputs of a backward layer on in the order in which it processed them."""
    (direction,) = layer.directions
    return replace(layer, directions=(replace(direction, reverse=backwards),), time_restored=not backwards)


def turned_role(role: str, k: int, backwards: bool) -> str:
    """Where a tensor goes, `layer 0 kernel`, under the other direction of layer `k`."""
    where = f"layer {k} "
    if not role.startswith(where):
        return role
    return where + "reverse " * backwards + role.removeprefix(where).removeprefix("reverse ")
