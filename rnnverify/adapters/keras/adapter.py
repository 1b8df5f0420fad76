"""Keras files to the canonical network: full models by their configuration, weights alone by names and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rnnverify.adapters.keras import around as keras_around
from rnnverify.adapters.keras import beside as keras_beside
from rnnverify.adapters.keras import weights as keras_weights
from rnnverify.adapters.keras.cells import CELLS, Cell, Config
from rnnverify.adapters.keras.config import Address, Placed, layers_of
from rnnverify.adapters.keras.graph import with_gates
from rnnverify.adapters.keras.layers import OF_ONE_CELL, KerasLayer, LayerReader
from rnnverify.adapters.keras.masks import masking, masks
from rnnverify.adapters.keras.names import cells_in, tensors_of
from rnnverify.adapters.keras.network import NetworkBuilder
from rnnverify.adapters.keras.parts import Stack, Survey, choose, stacks_of
from rnnverify.adapters.keras.restate import restate
from rnnverify.adapters.keras.safety import why_not
from rnnverify.adapters.keras.told import keras_version
from rnnverify.adapters.reading import Open, Reading, Recipe
from rnnverify.canonical import Network
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, UnsupportedError, printable

__all__ = ["read", "restate"]


def read(contents: Contents, selector: str | None) -> Reading:
    """The recurrent part of a Keras file that `selector` names, or its only one.

    Raises `SelectorError` where several parts or none fit, `UnsupportedError` for layers that are not compared yet,
    `FileError` where configuration and weights contradict each other or the weights are no numbers.
    """
    contents, survey = _surveyed(contents)
    stack, part = choose(contents, survey, selector)
    builder = NetworkBuilder(contents)
    for layer in stack:
        builder.add(layer)
    cells = [cell for layer in stack for cell in layer.cells]
    why = str(contents.metadata.get("why_not") or survey.why_not or _changed_since(cells))
    mask = survey.masks.get(stack[0].path)
    recipe = Recipe(
        "keras",
        tuple(_recipe_layer(layer) for layer in stack),
        builder.tensors,
        loadable=not why,
        why_not=why,
    )
    network = Network(tuple(builder.layers))
    around, taken = keras_around.find(contents, survey, stack, (network.input_size, network.output_size))
    chosen = {layer.path for layer in stack} | taken
    reading = Reading(
        network,
        recipe,
        part,
        activation_stated=all(cell.stated for cell in cells),
        roles=builder.roles,
        unused={name: _unused(contents, name) for name in contents.tensors if name not in builder.roles},
        not_compared=tuple(title for path, title in survey.layers.items() if path not in chosen),
        assumptions=keras_weights.assumed(survey, stack),
        notes=_notes(contents, survey, stack),
        mask_value=mask.value if mask else None,
        open=_open(cells),
    )
    return around.beside(reading)


def _open(cells: Sequence[Cell]) -> frozenset[Open]:
    """What gated cells leave open, where no configuration is there."""
    found: set[Open] = {"gate_activation"} if any(c.kind != "rnn" and not c.stated for c in cells) else set()
    if any(c.kind == "gru" for c in cells) and not any(c.kind == "gru" and c.reset_stated for c in cells):
        found.add("reset")
    return frozenset(found)


def _changed_since(cells: Sequence[Cell]) -> str:
    """Why Keras 3 would load another function than the file was written for; empty where it would not."""
    used = {name for cell in cells for name in (cell.activation, cell.gating.activation)}
    found = "its hard_sigmoid is that of Keras 1 and 2, and Keras 3 means another function by that name"
    return found if "keras2_hard_sigmoid" in used else ""


def _surveyed(contents: Contents) -> tuple[Contents, Survey]:
    """What the file holds; of weights alone with the architecture beside them, where there is one that fits."""
    model = contents.metadata.get("model_config")
    if isinstance(model, dict):
        return contents, _survey(contents, model)
    contents = with_gates(contents)
    beside = keras_beside.architecture(contents)
    if beside is None:
        yaml = keras_beside.unread_yaml(contents)
        unread = [f"{yaml} beside the weights is YAML, which is not read"] * bool(yaml)
        return replace(contents, notes=(*contents.notes, *unread)), keras_weights.survey(contents)
    name = printable(beside.name)
    try:
        described = keras_beside.described(contents, beside)
        model = described.metadata["model_config"]
        assert isinstance(model, dict)
        survey = _survey(described, model)
        if keras_beside.fits(described, model, survey):
            noted = f"what the weights do not state is read from {name} beside them"
            return replace(described, notes=(*contents.notes, noted)), survey
    except FileError:
        pass  # it is not the architecture of these weights
    noted = f"{name} beside the weights does not fit them, and is not used"
    contents = replace(contents, notes=(*contents.notes, noted))
    return contents, keras_weights.survey(contents)


def _survey(contents: Contents, model: Config) -> Survey:
    """What the configuration says, with every recurrent layer matched to its tensors."""
    placed = layers_of(contents.path, model)
    reader = LayerReader(contents.path, keras_version(contents))
    readable: dict[Address, KerasLayer] = {}
    refused: dict[Address, UnsupportedError] = {}
    strange: dict[Address, UnsupportedError] = {}
    notes: dict[Address, tuple[str, ...]] = {}
    for layer in placed:
        reason = _not_compared(contents, layer)
        if reason:
            advice = "only SimpleRNN, GRU, LSTM, RNN of their cells, and Bidirectional of these are"
            strange[layer.path] = UnsupportedError(contents.path, f"{layer.title} {reason}", advice)
        elif layer.recurrent:
            try:
                found = reader.read(layer.path, layer.class_name, layer.config)
            except UnsupportedError as error:
                refused[layer.path] = error
                continue
            readable[layer.path] = tensors_of(contents, layer, found)
            notes[layer.path] = _call_notes(layer)
    stacks = stacks_of(placed, readable)
    titles = {layer.path: layer.title for layer in placed if layer.class_name != "InputLayer"}
    masked = masking(placed), masks(placed)
    return Survey(stacks, titles, refused, strange, notes, *masked, placed=placed, why_not=why_not(model))


def _not_compared(contents: Contents, layer: Placed) -> str:
    """Why a layer is recurrent, but of another kind than those compared; empty for all others."""
    inside = [layer.class_name, *_classes_inside(layer.config)]
    other = [name for name in inside if name.startswith("ConvLSTM")]
    if other:
        return "is not compared yet" if other[0] == layer.class_name else f"of {other[0]} is not compared yet"
    if layer.recurrent:
        return ""
    if {*OF_ONE_CELL, "RNN", *CELLS} & set(inside[1:]):
        return "holds a recurrent layer inside, and is not compared yet"
    weights = contents.metadata.get("layer_weights")
    listed = weights.get(layer.path[0], []) if isinstance(weights, dict) and len(layer.path) == 1 else []
    stored = [name for name in contents.tensors if name.startswith(f"{layer.group}/cell/")]
    return "is of a class that is not Keras's own" if cells_in([*listed, *stored]) else ""


def _classes_inside(config: Config) -> list[str]:
    """Class names of the layers and cells that a wrapper's configuration holds."""
    found: list[str] = []
    nodes = [config.get(key) for key in ("layer", "backward_layer", "cell", "cells")]
    while nodes:
        node = nodes.pop(0)
        if isinstance(node, list):
            nodes += node
        elif isinstance(node, dict):
            found += [node["class_name"]] if isinstance(node.get("class_name"), str) else []
            inner = node.get("config")
            if isinstance(inner, dict):
                nodes += [inner.get(key) for key in ("layer", "backward_layer", "cell", "cells", "layers")]
    return found


def _call_notes(layer: Placed) -> tuple[str, ...]:
    notes = []
    if layer.states:
        notes.append(f"{layer.title} gets an initial state in the model; it is compared from a zero state")
    if len(layer.feeds) > 1:
        notes.append(f"{layer.title} is called {len(layer.feeds)} times in the model; its weights are compared once")
    return tuple(notes)


def _notes(contents: Contents, survey: Survey, stack: Stack) -> tuple[str, ...]:
    notes = [*contents.notes]
    for layer in stack:
        notes += [*layer.notes, *survey.notes.get(layer.path, ())]
    if not stack[-1].return_sequences:
        notes.append(f"{printable(stack[-1].name)!r} returns the last step only; every step is compared")
    own = survey.masks.get(stack[0].path)
    if own:
        notes.append(f"{own.title} masks steps whose features all are {own.value:g}: inputs are used without them")
    others = [title for title in survey.masking if own is None or title != own.title]
    if others:
        notes.append(f"{', '.join(others)} may mask steps; every step is compared as an unmasked one")
    return tuple(notes)


def _recipe_layer(layer: KerasLayer) -> dict[str, object]:
    return {
        "name": layer.name,
        "path": [*layer.path],
        "kind": layer.kind,
        "cells": [{"units": cell.units, "use_bias": cell.use_bias, "cudnn": cell.cudnn} for cell in layer.cells],
        "go_backwards": layer.go_backwards,
        "bidirectional": layer.merge_mode is not None,
        "merge_mode": layer.merge_mode,
        "tensors": [[[*cell] for cell in direction] for direction in layer.tensors],
    }


def _unused(contents: Contents, name: str) -> str:
    said = contents.metadata.get("unused")
    if isinstance(said, dict) and name in said:
        return str(said[name])
    if name.startswith(("optimizer_weights/", "optimizer/")):
        return "optimizer state"
    if "/seed_generator/" in name:
        return "state of a random generator"
    weights = contents.metadata.get("layer_weights")
    for layer, names in weights.items() if isinstance(weights, dict) else ():
        if name in names:
            return f"of layer {printable(layer)!r}, which is not compared"
    return "of another layer, which is not compared" if name.startswith("layers/") else "not a weight of any layer"
