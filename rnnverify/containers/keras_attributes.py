"""What a Keras HDF5 file states in its attributes: versions, configuration, layers and the order of their weights.

Sources: Keras 1.0-2.15 `save_weights_to_hdf5_group` (keras/engine/topology.py, keras/engine/saving.py,
keras/saving/hdf5_format.py), Keras 0.3 `save_weights` (keras/models.py), Keras 3 `H5IOStore` (saving/saving_lib.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count, takewhile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.containers.keras_json import parse_object
from rnnverify.errors import FileError, printable


def stated(path: Path, file: Any, root: Any, groups: Mapping[str, Any]) -> dict[str, object]:
    """The attributes of an open `file` whose weights lie under the group `root`, under these keys where present:

    `keras_version`, `backend`: str. `model_config`: dict. `layer_weights`: {layer: [tensor name, ...]}, layers and
    weights in the order of the model. `groups` are those under `root` by name: a link out of the file is never among
    them. Raises `FileError` for an attribute of the wrong kind.
    """
    found: dict[str, object] = {}
    for key in ("keras_version", "backend"):
        value = _text(_attribute(file, key)) or _text(_attribute(root, key))
        if value:
            found[key] = value
    if "model_config" in file.attrs:
        config = _text(_attribute(file, "model_config"))
        if config is None:
            raise FileError(path, "attribute model_config is no text", "save the model again")
        found["model_config"] = parse_object(path, "attribute model_config", config)
    weights = _layer_weights(path, root, groups)
    if weights is not None:
        found["layer_weights"] = weights
    return found


def group_name(group: Any) -> str:
    """The `name` that Keras 3.6 and later put on a `vars` group: what the user calls the layer; empty where absent."""
    return _text(_attribute(group, "name")) or ""


def _layer_weights(path: Path, root: Any, groups: Mapping[str, Any]) -> dict[str, list[str]] | None:
    layers = _names(path, root, "layer_names")
    if layers is None and "nb_layers" in root.attrs:  # Keras 0.3 gives no names: the numbers are the order
        numbered = (f"layer_{k}" for k in count())
        return {
            layer: [f"{layer}/param_{k}" for k in range(len(groups[layer]))]
            for layer in takewhile(groups.__contains__, numbered)
        }
    if layers is None:
        return None
    return {
        layer: [f"{layer}/{name}" for name in _names(path, groups[layer], "weight_names") or []]
        for layer in layers
        if layer in groups
    }


def _names(path: Path, group: Any, key: str) -> list[str] | None:
    """A list of names; Keras cuts one of more than 64512 bytes into attributes `key0`, `key1`, ..."""
    pieces = [key] if key in group.attrs else []
    for k in count():
        if pieces == [key] or f"{key}{k}" not in group.attrs:
            break
        pieces.append(f"{key}{k}")
    if not pieces:
        return None
    names = [_text(value) for piece in pieces for value in np.asarray(_attribute(group, piece)).ravel()]
    if None in names:
        where = f"{printable(group.name)!r}"
        raise FileError(path, f"attribute {key} of group {where} is no list of names", "save the model again")
    return [name for name in names if name is not None]


def _attribute(group: Any, key: str) -> object:
    """The text or texts of an attribute; None where there is none, or it is of another kind.

    Kind and size are asked before the value: HDF5 1.14 crashes on some damaged attributes of variable length, and
    h5py makes room for whatever length one of fixed length announces.
    """
    import h5py

    if key not in group.attrs:
        return None
    attribute = group.attrs.get_id(key)
    size = attribute.get_type().get_size() * prod(attribute.shape)
    if size > group.file.id.get_filesize():
        raise OSError(f"attribute {key} announces {size} bytes")
    if attribute.get_type().get_class() == h5py.h5t.STRING:
        value: object = group.attrs[key]
        return value
    return [] if attribute.shape == (0,) else None  # an empty list of names is written as one of floats


def _text(value: object) -> str | None:
    if isinstance(value, np.ndarray) and value.shape in ((), (1,)):
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else None
