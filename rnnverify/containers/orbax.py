"""Orbax checkpoints: a folder of arrays, each a zarr under the keys that lead to it, joined by `.`.

By default they lie in one OCDBT store (`manifest.ocdbt`, B-trees compressed with zstd), else in folders of their own;
as zarr 2 (`.zarray`) or zarr 3 (`zarr.json`). orbax-checkpoint 0.12.8, orbax/checkpoint/_src/serialization. A
CheckpointManager keeps a step in a folder of its number, and what was saved in it in `default` or under its item's
name. tensorstore, which Orbax itself stands on, reads them: it comes with Flax, and is asked for only here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.errors import FileError, UnsupportedError, printable

_MANIFEST = "manifest.ocdbt"
_MARKS = (_MANIFEST, "_METADATA", "_CHECKPOINT_METADATA")
_DRIVERS = {".zarray": "zarr", "zarr.json": "zarr3"}
_INFLATED = 2**24  # bytes; what is larger, and a hundred times the files that hold it, is a bomb
_SECONDS = 60.0
_DAMAGED = (ValueError, TypeError, KeyError, IndexError, OSError, RuntimeError, NotImplementedError, OverflowError)
_AGAIN = "copy the whole folder again"


def is_orbax(folder: Path) -> bool:
    """Whether `folder` is an Orbax checkpoint, or holds one as a CheckpointManager keeps it."""
    return _marked(folder) or any(_marked(each) for each in _numbered(folder))


def read(path: Path) -> Contents:
    """The arrays of the checkpoint at `path`, its values read on demand.

    Of a CheckpointManager's folder with one step, and one item in it, that item is read. Raises FileError where there
    are several, for damaged stores, and where tensorstore is not installed.
    """
    folder = _locate(path)
    store = _Store(folder)
    tensors = {name: store.tensor(name, driver) for name, driver in store.arrays().items()}
    if not tensors:
        raise FileError(path, "is an Orbax checkpoint without arrays", _AGAIN)
    return Contents(folder, "Orbax checkpoint", "flax", tensors, writer="Orbax")


def _marked(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _MARKS)


def _numbered(folder: Path) -> list[Path]:
    """The folders of steps, the latest last."""
    steps = [each for each in folder.iterdir() if each.name.isdecimal() and each.is_dir()]
    return sorted(steps, key=lambda each: int(each.name))


def _locate(path: Path) -> Path:
    """The folder that holds the arrays themselves."""
    folder = path
    if not _marked(folder):
        steps = _numbered(folder)
        if len(steps) > 1:
            found = f"holds {len(steps)} steps, {steps[0].name} to {steps[-1].name}"
            raise FileError(path, found, f"give one: {printable(steps[-1], 300)}")
        folder = steps[0]
    if (folder / _MANIFEST).is_file() or (folder / "_METADATA").is_file():
        return folder
    items = sorted(each for each in folder.iterdir() if each.is_dir() and (each / "_METADATA").is_file())
    if len(items) != 1:
        names = ", ".join(printable(each, 300) for each in items[:8])
        found = (
            f"is an Orbax checkpoint of {len(items)} items" if items else "is an Orbax checkpoint without its arrays"
        )
        raise FileError(path, found, f"give one: {names}" if items else _AGAIN)
    return items[0]


class _Store:
    """The key-value store of one checkpoint."""

    def __init__(self, folder: Path) -> None:
        try:
            import tensorstore
        except ImportError as error:
            found = "is an Orbax checkpoint, which tensorstore reads, and that is not installed"
            raise UnsupportedError(folder, found, "install it with: pip install 'rnnverify[flax]'") from error
        self._ts: Any = tensorstore
        self._folder = folder
        self._context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 0}})

    def _place(self, name: str) -> dict[str, object]:
        """Where tensorstore finds what is stored under `name`."""
        inside = f"{name}/" if name else ""
        if (self._folder / _MANIFEST).is_file():
            base = {"driver": "file", "path": f"{self._folder.absolute()}/"}
            return {"driver": "ocdbt", "base": base, "path": inside}
        return {"driver": "file", "path": f"{self._folder.absolute()}/{inside}"}

    def arrays(self) -> dict[str, str]:
        """The name of every array, and which driver reads it."""
        keys = self._asked("its store", lambda: self._ts.KvStore.open(self._place("")).result().list())
        found = {}
        for key in sorted(keys):
            name, _, mark = key.decode("utf-8", "surrogateescape").rpartition("/")
            if name and mark in _DRIVERS:
                found[name] = _DRIVERS[mark]
        return found

    def tensor(self, name: str, driver: str) -> StoredTensor:
        """The array under `name`, in the form that `driver` reads."""
        spec = {"driver": driver, "kvstore": self._place(name)}
        array = self._asked(name, lambda: self._ts.open(spec, open=True, read=True, context=self._context))
        shape, dtype = tuple(int(n) for n in array.shape), str(array.dtype.name)
        size = math.prod(shape) * int(array.dtype.numpy_dtype.itemsize)

        def read() -> Array:
            stored = sum(each.stat().st_size for each in self._folder.rglob("*") if each.is_file())
            if size > max(_INFLATED, 100 * stored):
                found = f"{printable(name)} announces {size} bytes, in files of {stored}"
                raise FileError(self._folder, found, _AGAIN)
            values = self._asked(name, array.read)
            return np.array(values, np.float32) if dtype == "bfloat16" else np.array(values)

        return StoredTensor(name, shape, dtype, read)

    def _asked(self, name: str, ask: Callable[[], Any]) -> Any:
        """What the future that `ask` gives comes to. FileError about `name` where it comes to nothing."""
        try:
            return ask().result(timeout=_SECONDS)
        except _DAMAGED as error:
            words = printable(error, 120)
            raise FileError(self._folder, f"{printable(name)} cannot be read ({words})", _AGAIN) from error
