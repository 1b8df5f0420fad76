"""A reading of Flax parameters under another merge or direction than the one assumed: they state neither."""

from __future__ import annotations

from dataclasses import replace
from typing import cast, get_args

from rnnverify.adapters.reading import Reading
from rnnverify.adapters.turned import turned, turned_role
from rnnverify.canonical import Merge, Network

MERGE, BACKWARDS = "the outputs of both directions are merged by ", "runs "
"""How the assumptions begin that `restate` changes."""


def restate(reading: Reading, merge: str | None, go_backwards: bool | None) -> Reading:
    """The reading with `merge` (concat, sum, mul, ave) for bidirectional layers, `go_backwards` for the others.

    None leaves it as it is; where there is no layer of that kind, `reading` itself comes back. Raises ValueError for an
    unknown `merge`, and where the layers do not fit each other under it.
    """
    if merge is not None and merge not in get_args(Merge):
        raise ValueError(f"merge mode {merge!r} is none of {', '.join(get_args(Merge))}")
    layers, specs, roles = [*reading.network.layers], [*reading.recipe.layers], dict(reading.roles)
    changes = []
    for k, layer in enumerate(layers):
        if layer.bidirectional and merge is not None:
            layers[k] = replace(layer, merge=cast(Merge, merge))
            specs[k] = {**specs[k], "merge": merge}
            changes.append((MERGE, f"{MERGE}{merge}"))
        elif not layer.bidirectional and go_backwards is not None:
            layers[k] = turned(layer, go_backwards)
            specs[k] = {**specs[k], "reverse": go_backwards, "keep_order": not go_backwards}
            roles = {name: turned_role(role, k, go_backwards) for name, role in roles.items()}
            changes.append((BACKWARDS, f"{BACKWARDS}{'backward' if go_backwards else 'forward'} in time"))
    if not changes:
        return reading
    words = dict(changes)
    return replace(
        reading,
        network=Network(tuple(layers)),
        recipe=replace(reading.recipe, layers=tuple(specs)),
        roles=roles,
        assumptions=tuple(
            next((new for old, new in words.items() if each.startswith(old)), each) for each in reading.assumptions
        ),
    )
