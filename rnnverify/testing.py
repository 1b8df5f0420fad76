"""In a test suite: `assert_equivalent(keras_layer_or_path, torch_module_or_path)`.

Live objects are saved by their own framework to a temporary folder (`live.py`), and compared as any file is: each is
run by its own framework in a process of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnverify.comparison import Comparison
from rnnverify.errors import printable
from rnnverify.live import save_live
from rnnverify.options import Options
from rnnverify.verify import compare

_PASSES = ("IDENTICAL", "EQUIVALENT", "CLOSE")


def assert_equivalent(*sides: Any, options: Options | None = None) -> Comparison:
    """Compare paths or live objects, each against the first; the comparison, where every side passes.

    A live object is a layer, cell or model of Keras, a torch.nn.Module, or a cell of TensorFlow 1: alone, as (cell,
    session), or as (cell, [kernel (I+H, H), bias (H,), ...]).
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

    named = [str(side) if isinstance(side, (str, Path)) else f"a live {_class(side)}" for side in sides]
    yield from lines(result, [printable(name) for name in named])
    if all(isinstance(side, (str, Path)) for side in sides):
        yield "to see all of it: rnnverify compare " + " ".join(named)
    else:
        yield "to see all of it: save the sides, and run rnnverify compare on the files"


def _saved(side: Any, path: Path) -> tuple[str | Path, str]:
    """Where `side` lies, and its activation where the file cannot state it."""
    return (str(side), "") if isinstance(side, (str, Path)) else save_live(side, path)


def _class(side: Any) -> str:
    return type(side[0] if isinstance(side, tuple) and side else side).__name__
