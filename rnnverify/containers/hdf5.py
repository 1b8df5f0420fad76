"""HDF5 as Keras writes it: full models and weights, Keras 0.3 to 3 and tf.keras.

Only hard links inside the file are followed. What can not be a weight (a link out of the file, a dataset stored in
another one, text, references, records) is not listed among the tensors but in `metadata["refused"]`, with the reason.
"""

from __future__ import annotations

import contextlib
import io
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.hdf5_heaps import check_heaps
from rnnverify.containers.hdf5_texts import Data, announced
from rnnverify.containers.keras_attributes import group_name, stated
from rnnverify.errors import FileError, printable

Source = Callable[[], BinaryIO]

_DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
"""What h5py raises for a file whose insides do not hold together."""
_MOST_OBJECTS = 100_000
_DEEPEST = 64  # groups inside groups
_INFLATION = 200  # times: weights never shrink that far, zeros packed to exhaust memory do
_SMALL = 2**24  # bytes: below, no size is a threat
_AT_ONCE = 2**16  # bytes: what is smaller is read with the listing, as opening the file again takes longer


def read(path: Path) -> Contents:
    """The tensors and attributes of an HDF5 file. Raises `FileError` where it is cut off, empty, or no HDF5.

    Tensors are named by their path under `model_weights` (full model) or the root (weights); those beside
    `model_weights`, such as optimizer state, by their whole path. `metadata` keys: those of
    `keras_attributes.stated`, `names` {group: name that Keras 3 notes on it}, `refused` {name: what it is}.
    """
    if not path.is_file():
        raise FileError(path, "is no plain file" if path.exists() else "no such file", "name an HDF5 file")
    if path.stat().st_size == 0:
        raise FileError(path, "the file is empty", "save the model again")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        tensors, metadata = read_from(path, lambda: path.open("rb"), data)
    return Contents(path, "HDF5", "keras", tensors, writer(metadata), metadata)


def writer(metadata: dict[str, object]) -> str:
    """`Keras 2.2.4 (tensorflow backend)`, as far as the file says."""
    version, backend = metadata.get("keras_version"), metadata.get("backend")
    return (f"Keras {version}" if version else "") + (f" ({backend} backend)" if version and backend else "")


def read_bytes(path: Path, data: bytes, member: str) -> tuple[dict[str, StoredTensor], dict[str, object]]:
    """`read_from` for the HDF5 file that is the `member` of a zip."""
    return read_from(path, lambda: io.BytesIO(data), data, f"{member}: ")


def read_from(
    path: Path, source: Source, data: Data, where: str = ""
) -> tuple[dict[str, StoredTensor], dict[str, object]]:
    """Tensors and metadata of the HDF5 file that `source` opens; `path` and `where` name it in messages.

    `data` is the same file as bytes, for what has to be looked at before the HDF5 library may see it.
    """
    check_heaps(path, data, where)
    with _opened(path, source, where) as file:
        listing = _Listing(path, source, data, where)
        listing.add(file, "", (file,))
        root = listing.groups.get("model_weights", file)
        prefix = "model_weights/" if root is not file else ""
        groups = {name.removeprefix(prefix): g for name, g in listing.groups.items() if name.startswith(prefix)}
        metadata = stated(path, file, root, groups)
    metadata["names"] = listing.names
    metadata["refused"] = listing.refused
    return listing.tensors, metadata


@contextmanager
def _opened(path: Path, source: Source, where: str) -> Iterator[Any]:
    import h5py

    try:
        with source() as stream, h5py.File(stream, "r") as file:
            yield file
    except _DAMAGED as problem:
        found = printable(problem, 120)
        raise FileError(path, f"{where}HDF5 is truncated or damaged ({found})", "copy or save the file again") from None


@dataclass
class _Listing:
    """The walk over a file's groups: its tensors, what is refused, and the names noted on groups."""

    path: Path
    source: Source
    data: Data
    where: str
    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)  # open while the file is
    seen: int = 0

    def add(self, group: Any, prefix: str, ancestors: tuple[Any, ...]) -> None:
        import h5py

        self._check_texts(group)
        for key in group:
            self.seen += 1
            if self.seen > _MOST_OBJECTS or len(ancestors) > _DEEPEST:
                raise FileError(self.path, f"{self.where}more groups than any model has", "save the model again")
            location = prefix + key
            name = location.removeprefix("model_weights/")
            try:
                link = group.get(key, getlink=True)
            except TypeError:  # h5py knows no other kinds
                link = None
            if not isinstance(link, h5py.HardLink):
                self.refused[name] = _LINKS.get(type(link).__name__, "a user-defined link")
                continue
            item = group[key]
            if isinstance(item, h5py.Dataset):
                self._add_dataset(item, location, name)
            elif isinstance(item, h5py.Group) and item not in ancestors:  # a cycle of hard links ends here
                self.groups[location] = item
                if key == "vars" and group_name(item):
                    self.names[name.removesuffix("vars").rstrip("/")] = group_name(item)
                self.add(item, f"{location}/", (*ancestors, item))

    def _check_texts(self, item: Any) -> None:
        """Raise where the attributes of `item` announce more text than the file holds."""
        import h5py

        size = announced(self.data, h5py.h5o.get_info(item.id).addr)
        if size < 0:
            found = f"{self.where}{printable(item.name)!r} keeps attributes in a way that Keras never does"
            raise FileError(self.path, found, "save the model again with Keras")
        if size > len(self.data):
            raise OSError(f"the attributes of {item.name} announce {size} bytes of text")

    def _add_dataset(self, dataset: Any, location: str, name: str) -> None:
        self._check_texts(dataset)
        if name in self.tensors:
            raise FileError(self.path, f"{self.where}two arrays are named {printable(name)!r}", "save the model again")
        reason = _refusal(dataset)
        if reason:
            self.refused[name] = reason
            return
        bfloat16 = dataset.dtype == np.dtype("V2")
        kept: Array | None = None
        if dataset.size * dataset.dtype.itemsize <= _AT_ONCE:
            with contextlib.suppress(FileError, *_DAMAGED):  # who reads that tensor is told, and no one else
                kept = _values(self.path, dataset, name)
        values = partial(_read_again, self.path, self.source, self.where, location, name) if kept is None else kept.copy
        dtype = "bfloat16" if bfloat16 else dataset.dtype.name
        self.tensors[name] = StoredTensor(name, tuple(dataset.shape), dtype, values)


def _read_again(path: Path, source: Source, where: str, location: str, name: str) -> Array:
    """The values of one dataset. No method: a tensor that kept its listing would keep every group of the file open."""
    with _opened(path, source, where) as file:
        return _values(path, file[location], name)


_LINKS = {
    "SoftLink": "a soft link, and only arrays of the file itself are read",
    "ExternalLink": "a link into another file, which is not followed",
}


def _refusal(dataset: Any) -> str:
    """Why a dataset can be no weight, or nothing. The layout comes first: a virtual one may open files when asked."""
    import h5py

    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        return "a virtual dataset, made of other files, which are not read"
    if plan.get_external_count() > 0:
        return "stored in another file, which is not read"
    dtype = dataset.dtype
    if dataset.shape is None:
        return "a dataset without values"
    if dtype == np.dtype("V2") and dataset.attrs.get("dtype") in ("bfloat16", b"bfloat16"):
        return ""
    if dtype.kind in "fiub":
        return ""
    if h5py.check_dtype(ref=dtype) is not None:
        return "an array of object references, not of numbers"
    if dtype.kind in "SUO":
        return "an array of text, not of numbers"
    return f"an array of {'records' if dtype.names else printable(dtype)}, not of real numbers"


def _values(path: Path, dataset: Any, name: str) -> Array:
    size, stored = dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if size and (stored == 0 or (size > _SMALL and size > _INFLATION * stored)):
        found = f"tensor {printable(name)!r} announces {size} bytes, but the file stores {stored} for it"
        raise FileError(path, found, "the file is damaged: save the model again")
    array: Array = dataset[()]
    if dataset.dtype == np.dtype("V2"):  # bfloat16 is the upper half of a float32
        halves = np.frombuffer(array.tobytes(), dtype="<u2").astype(np.uint32)
        widened: Array = (halves << 16).view(np.float32).reshape(dataset.shape)
        return widened
    native: Array = np.asarray(array).astype(array.dtype.newbyteorder("="), copy=False)
    return native
