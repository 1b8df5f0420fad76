"""The architecture beside a file of weights: the JSON of `model.to_json()`, used where it fits the weights.

Sources: `to_json` in keras/models.py (0.3), keras/engine/topology.py (1.0-2.3), keras/engine/training.py (2.4-2.15),
keras/src/models/model.py (3). The YAML of Keras 0.3-2.5 is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rnnverify.adapters.keras.cells import Cell, Config
from rnnverify.adapters.keras.config import layers_of
from rnnverify.adapters.keras.gates import wanted
from rnnverify.adapters.keras.parts import Survey
from rnnverify.containers.contents import Contents
from rnnverify.containers.keras_json import parse_object
from rnnverify.errors import FileError, printable

_LARGEST = 1 << 24  # bytes; genuine architectures have some thousand
_SUFFIX = re.compile(r"(\.weights)?\.(h5|hdf5|keras|index)")
_WEIGHTS = re.compile(r"[._-]?weights?", re.IGNORECASE)
_KERAS0 = ("name", "cache_enabled", "custom_name", "truncate_gradient")  # what a layer of Keras 0.3 has beside options


def architecture(contents: Contents) -> Path | None:
    """The JSON beside `contents` that is called as an architecture is; None where there is none."""
    return next((path for path in _candidates(contents.path, ".json") if path.is_file()), None)


def described(contents: Contents, path: Path) -> Contents:
    """`contents` with the configuration in the JSON at `path`. Raises `FileError` where that is no architecture."""
    try:
        if path.stat().st_size > _LARGEST:
            raise FileError(path, f"is larger than {_LARGEST} bytes", "it is no architecture")
        found = parse_object(path, "the architecture", path.read_bytes())
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "check its permissions") from error
    model = _sequential_of_keras0(found) or found
    if not model.get("class_name") or "config" not in model:
        raise FileError(path, "is no architecture of a Keras model", "write it with model.to_json()")
    metadata = {**contents.metadata, "model_config": model, "why_not": "the file holds weights only"}
    version = found.get("keras_version") or ("3" if "module" in found else "")
    if version and "keras_version" not in metadata:
        metadata["keras_version"] = version
    return replace(contents, metadata=metadata)


def unread_yaml(contents: Contents) -> str:
    """The name of a YAML architecture beside `contents`, which is not read; empty where there is none."""
    beside = (path for suffix in (".yaml", ".yml") for path in _candidates(contents.path, suffix) if path.is_file())
    return printable(next(beside, Path()).name)


def fits(contents: Contents, model: Config, survey: Survey) -> bool:
    """Whether the weights are those of `model`: every layer that has some is in it, and cells have its sizes."""
    listed = contents.metadata.get("layer_weights")
    placed = layers_of(contents.path, model)
    if isinstance(listed, dict):
        own = {layer.path[0] for layer in placed}
        if not {name for name, weights in listed.items() if weights} <= own:
            return False
    cells = [
        (cell, names)
        for stack in survey.stacks
        for layer in stack
        for direction in layer.tensors
        for cell, names in zip(layer.cells, direction, strict=True)
    ]
    return all(_has_size(contents, cell, names) for cell, names in cells)


def _has_size(contents: Contents, cell: Cell, names: Sequence[str]) -> bool:
    shapes = [stored.shape[-1:] if (stored := contents.tensors.get(name)) else None for name in names]
    return shapes == [shape[-1:] for _, shape, _ in wanted(cell, len(names), 0)]


def _candidates(weights: Path, suffix: str) -> Iterator[Path]:
    """`weights.h5`, `lstm_weights.h5` and `lstm.weights.h5` have an architecture of these names."""
    stem = weights.name
    while match := re.search(_SUFFIX.pattern + "$", stem):
        stem = stem[: match.start()]
    names = [stem, _WEIGHTS.sub("", stem), "model", "architecture"]
    yield from (weights.with_name(name + suffix) for name in dict.fromkeys(names) if name)


def _sequential_of_keras0(found: Config) -> Config | None:
    """A Sequential of Keras 0.3, {"name", "layers": [{"name": class, options}]}, as later versions write it.

    Its weights lie in groups layer_0, layer_1, ..., and so its layers are called here.
    """
    layers = found.get("layers")
    if (
        found.get("name") != "Sequential"
        or not isinstance(layers, list)
        or not all(isinstance(x, dict) for x in layers)
    ):
        return None
    listed = []
    for k, layer in enumerate(layers):
        config = {key: value for key, value in layer.items() if key not in _KERAS0}
        listed.append({"class_name": layer.get("name"), "config": {**config, "name": f"layer_{k}"}})
    return {"class_name": "Sequential", "config": listed}
