"""A reading of weights alone, under another merge mode or direction than the one assumed."""

from __future__ import annotations

from dataclasses import replace
from typing import cast, get_args

from rnnverify.adapters.keras.weights import BACKWARDS, MERGE
from rnnverify.adapters.reading import Reading
from rnnverify.adapters.turned import turned, turned_role
from rnnverify.canonical import Merge, Network


def restate(reading: Reading, merge: str | None, go_backwards: bool | None) -> Reading:
    """The reading with what its file leaves open set anew; None leaves it as it is.

    `merge` (concat, sum, mul, ave) is for bidirectional layers, `go_backwards` for those of one direction. What the
    file states stays: without a layer left open, `reading` itself comes back. Raises `ValueError` for an unknown
    `merge`, and where the layers do not fit each other under it.
    """
    if merge is not None and merge not in get_args(Merge):
        raise ValueError(f"merge mode {merge!r} is none of {', '.join(get_args(Merge))}")
    merge = merge if _assumed(reading, MERGE) else None
    go_backwards = go_backwards if _assumed(reading, BACKWARDS) else None
    if merge is None and go_backwards is None:
        return reading
    layers, specs, roles = [*reading.network.layers], [], dict(reading.roles)
    k = 0  # the first canonical layer of a recipe layer: it has one for each cell
    for spec in reading.recipe.layers:
        if spec["bidirectional"] and merge is not None:
            layers[k] = replace(layers[k], merge=cast(Merge, merge))
            spec = {**spec, "merge_mode": merge}
        elif not spec["bidirectional"] and go_backwards is not None:
            layers[k] = turned(layers[k], go_backwards)
            spec = {**spec, "go_backwards": go_backwards}
            roles |= {name: turned_role(role, k, go_backwards) for name, role in roles.items()}
        specs.append(spec)
        k += len(cast(list[object], spec["cells"]))
    return replace(
        reading,
        network=Network(tuple(layers)),
        recipe=replace(reading.recipe, layers=tuple(specs)),
        roles=roles,
        assumptions=tuple(_assumption(each, merge, go_backwards) for each in reading.assumptions),
    )


def _assumed(reading: Reading, what: str) -> bool:
    return any(each.startswith(what) for each in reading.assumptions)


def _assumption(text: str, merge: str | None, go_backwards: bool | None) -> str:
    if merge is not None and text.startswith(MERGE):
        return f"{MERGE}{merge}"
    if go_backwards is not None and text.startswith(BACKWARDS):
        return f"{BACKWARDS}{go_backwards}"
    return text
