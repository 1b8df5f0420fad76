"""Live objects of the frameworks, saved by their own framework to files that are compared as any file is.

A layer, cell or model of Keras 3 or tf_keras goes through `.keras`, a torch.nn.Module through `torch.save`, a cell of
TensorFlow 1 through a graph of its own and `tf.compat.v1.train.Saver`. Frameworks are never imported here: who has a
live object has imported its framework.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.canonical import Array
from rnnverify.errors import OptionError, printable

_KERAS = ("keras", "tf_keras")
_TENSORFLOW = ("BasicRNNCell", "MultiRNNCell")


def save_live(side: Any, path: Path) -> tuple[Path, str]:
    """Where `side` lies now, and its activation where the file cannot state it. `path` has no suffix yet.

    A cell of TensorFlow 1 is given alone where its variables can be read (in eager mode, or with a default session), or
    as (cell, session), or as (cell, values): its kernel (I+H, H) and bias (H,), layer by layer, bottom to top.
    Raises OptionError for what cannot be compared.
    """
    bases = {f"{base.__module__}.{base.__qualname__}" for base in type(side).__mro__}
    if "torch.nn.modules.module.Module" in bases:
        return _save_torch(side, path.with_suffix(".pt"))
    cell, given = side if isinstance(side, tuple) and len(side) == 2 else (side, None)
    if _named(cell, _TENSORFLOW):
        return _save_cell(cell, given, path.with_suffix(".ckpt")), ""
    module = next((base.__module__ for base in type(side).__mro__ if base.__module__.partition(".")[0] in _KERAS), "")
    if module and hasattr(side, "get_weights"):
        return _save_keras(side, sys.modules[module.partition(".")[0]], path.with_suffix(".keras")), ""
    wanted = "wanted a path, a layer or model of Keras, a torch.nn.Module, or a BasicRNNCell of TensorFlow"
    raise OptionError(f"{printable(type(side).__name__)} cannot be compared; {wanted}")


def _named(thing: Any, names: Sequence[str]) -> bool:
    """Whether `thing` is of one of TensorFlow's or Keras's own classes of these names."""
    bases = [(base.__name__, base.__module__.partition(".")[0]) for base in type(thing).__mro__]
    return any(name in names and top in ("tensorflow", *_KERAS) for name, top in bases)


def _save_torch(module: Any, path: Path) -> tuple[Path, str]:
    """The whole module, or its state_dict where a class of it cannot be pickled: then its nonlinearity is told."""
    torch = sys.modules["torch"]
    try:
        torch.save(module, path)
        return path, ""
    except (pickle.PicklingError, AttributeError, TypeError):
        torch.save(module.state_dict(), path)
    used = {part.nonlinearity for part in module.modules() if isinstance(getattr(part, "nonlinearity", None), str)}
    return path, used.pop() if len(used) == 1 else ""


def _save_keras(layer: Any, keras: Any, path: Path) -> Path:
    """A model as it is; a layer or a cell as a copy in a model of its own: the one that was given stays untouched."""
    if not layer.built:
        raise OptionError(f"{printable(layer.name)} is not built, it has no weights yet; call it, or build it, once")
    model = layer
    if not isinstance(layer, keras.Model):
        weights = layer.get_weights()
        copy = type(layer).from_config(layer.get_config())
        driven = keras.layers.RNN(copy) if _named(layer, ("SimpleRNNCell", "StackedRNNCells")) else copy
        model = keras.Sequential([keras.Input((None, weights[0].shape[0])), driven])
        copy.set_weights(weights)
    model.save(path)
    return path


def _save_cell(cell: Any, given: Any, path: Path) -> Path:
    """The variables of a cell, and a graph with a copy of it under dynamic_rnn, which states the activation."""
    v1 = sys.modules["tensorflow"].compat.v1
    layers = list(cell._cells) if _named(cell, ("MultiRNNCell",)) else [cell]
    for each in layers:
        if not _named(each, ("BasicRNNCell",)):
            found = f"{printable(type(each).__name__)} inside {type(cell).__name__} cannot be compared"
            raise OptionError(f"{found}; wanted BasicRNNCell alone")
    values = _values(cell, given, v1)
    if len(values) != 2 * len(layers) or any(
        k.ndim != 2 or b.ndim != 1 for k, b in zip(values[::2], values[1::2], strict=True)
    ):
        shapes = ", ".join(str(value.shape) for value in values)
        raise OptionError(
            f"{type(cell).__name__} with values of shape {shapes}: wanted a kernel and a bias for each layer"
        )
    size, dtype = values[0].shape[0] - layers[0].output_size, values[0].dtype
    with v1.Graph().as_default(), v1.Session(config=v1.ConfigProto(device_count={"GPU": 0})) as session:
        copies = [type(each)(each.output_size, activation=each._activation) for each in layers]
        driven = v1.nn.rnn_cell.MultiRNNCell(copies) if _named(cell, ("MultiRNNCell",)) else copies[0]
        v1.nn.dynamic_rnn(driven, v1.placeholder(dtype, [None, None, size]), dtype=dtype)
        variables = [variable for copy in copies for variable in copy.variables]
        for variable, value in zip(variables, values, strict=True):
            variable.load(value, session)
        v1.train.Saver(variables).save(session, str(path), write_state=False)
    return path


def _values(cell: Any, given: Any, v1: Any) -> list[Array]:
    """The variables of `cell` as arrays: those that were given, or as its session or eager mode knows them."""
    name = type(cell).__name__
    if isinstance(given, (Mapping, Sequence)):
        return [np.asarray(value) for value in (given.values() if isinstance(given, Mapping) else given)]
    variables = list(cell.variables)
    if not variables:
        raise OptionError(f"{name} is not built, it has no variables yet; call it, or build it, once")
    session = given or v1.get_default_session()
    if session is not None:
        return [np.asarray(value) for value in session.run(variables)]
    try:
        return [np.asarray(variable.numpy()) for variable in variables]
    except (AttributeError, NotImplementedError) as error:
        found = f"the variables of {name} live in a graph"
        raise OptionError(f"{found}; give (cell, session), or call it within a session") from error
