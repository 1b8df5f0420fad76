"""In a test suite: `assert_equivalent(keras_layer_or_path, torch_module_or_path)`.

Live objects are saved by their own framework to a temporary folder, and compared as any file is: each is run by its own
framework in a process of its own. A layer or model of Keras 3 or tf_keras goes through `.keras`, a torch.nn.Module
through `torch.save`. Frameworks are never imported here: who has a live object has imported its framework.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnverify.comparison import Comparison
from rnnverify.errors import OptionError, printable
from rnnverify.verify import Options, compare

_KERAS = ("keras", "tf_keras")
_PASSES = ("IDENTICAL", "EQUIVALENT", "CLOSE")


def assert_equivalent(*sides: Any, options: Options | None = None) -> Comparison:
    """Compare paths or live objects, each against the first; the comparison, where every side passes.

    Raises AssertionError with a short report where one does not, and an RnnverifyError where they cannot be compared.
    """
    __tracebackhide__ = True  # pytest shows the line that called
    with tempfile.TemporaryDirectory(prefix="rnnverify-") as folder:
        saved = [_saved(side, Path(folder) / chr(ord("A") + k)) for k, side in enumerate(sides)]
        options = options or Options()
        activations = [f"{path.name[0]}={name}" for path, name in saved if isinstance(path, Path) and name]
        if activations:
            assumed = replace(options.assumed, activations=(*options.assumed.activations, *activations))
            options = replace(options, assumed=assumed)
        result = compare(*(source for source, _ in saved), options=options)
    if result.verdict not in _PASSES:
        raise AssertionError("\n".join(_report(result, sides)))
    return result


def _report(result: Comparison, sides: tuple[Any, ...]) -> Iterator[str]:
    from rnnverify.reports.short import lines

    named = [str(side) if isinstance(side, (str, Path)) else f"a live {type(side).__name__}" for side in sides]
    yield from lines(result, [printable(name) for name in named])
    if all(isinstance(side, (str, Path)) for side in sides):
        yield "to see all of it: rnnverify compare " + " ".join(named)
    else:
        yield "to see all of it: save the sides, and run rnnverify compare on the files"


def _saved(side: Any, path: Path) -> tuple[str | Path, str]:
    """Where `side` lies, and its activation where the file cannot state it."""
    if isinstance(side, (str, Path)):
        return (side if isinstance(side, str) else str(side)), ""
    bases = {f"{base.__module__}.{base.__qualname__}" for base in type(side).__mro__}
    if "torch.nn.modules.module.Module" in bases:
        return _save_torch(side, path.with_suffix(".pt"))
    module = next((base.__module__ for base in type(side).__mro__ if base.__module__.partition(".")[0] in _KERAS), "")
    if module and hasattr(side, "get_weights"):
        return _save_keras(side, sys.modules[module.partition(".")[0]], path.with_suffix(".keras")), ""
    wanted = "wanted a path, a layer or model of Keras, or a torch.nn.Module"
    raise OptionError(f"{printable(type(side).__name__)} cannot be compared; {wanted}")


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
    """A model as it is; a layer as a copy in a model of its own, so that the one that was given stays untouched."""
    if not layer.built:
        raise OptionError(f"{printable(layer.name)} is not built, it has no weights yet; call it, or build it, once")
    model = layer
    if not isinstance(layer, keras.Model):
        weights = layer.get_weights()
        copy = type(layer).from_config(layer.get_config())
        model = keras.Sequential([keras.Input((None, weights[0].shape[0])), copy])
        copy.set_weights(weights)
    model.save(path)
    return path
