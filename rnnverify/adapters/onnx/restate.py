"""A reading of an ONNX graph that takes what turns steps around for something before the network, not part of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from rnnverify.adapters.reading import Reading
from rnnverify.adapters.turned import turned, turned_role
from rnnverify.canonical import Network


def turned_layers(reading: Reading) -> tuple[int, ...]:
    """The layers that run backwards only because operations before them turn their input around."""
    return tuple(k for k, spec in enumerate(reading.recipe.layers) if _is_turned(cast(Any, spec)))


def without_turns(reading: Reading) -> Reading:
    """`reading` with these layers running forward over whatever they are given, as their nodes do."""
    layers, specs, roles = [*reading.network.layers], [*reading.recipe.layers], dict(reading.roles)
    for k in turned_layers(reading):
        layers[k] = turned(layers[k], False)
        (node,) = cast(Any, specs[k])["nodes"]
        specs[k] = {
            **specs[k],
            "nodes": [{**node, "turned": False, "ways": [False]}],
            "joined": False,
            "restored": True,
        }
        if k + 1 < len(specs):
            specs[k + 1] = {**specs[k + 1], "joined": False}
        roles = {name: turned_role(role, k, False) for name, role in roles.items()}
    recipe = replace(reading.recipe, layers=tuple(specs))
    return replace(reading, network=Network(tuple(layers)), recipe=recipe, roles=roles)


def _is_turned(spec: dict[str, Any]) -> bool:
    return len(spec["nodes"]) == 1 and spec["nodes"][0]["turned"]
