"""The zip form of torch.save: `<root>/data.pkl` beside one stored member `<root>/data/<key>` for each
storage.

Written by default since PyTorch 1.6 (on request since 1.4); layout from torch/serialization.py `_save` and
caffe2/serialize/inline_container.h, 1.5.1 to 2.13.0. `<root>/byteorder`, where it is, says little or big.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path

from rnnverify.canonical import Array
from rnnverify.containers import torch_object
from rnnverify.containers.contents import Contents
from rnnverify.containers.raw_span import itemsize
from rnnverify.containers.torch_archive import AGAIN, Archive, open_archive
from rnnverify.containers.torch_object import ReadStorage
from rnnverify.containers.torch_pickle import Loaded, load
from rnnverify.containers.torch_records import Storage
from rnnverify.errors import FileError, UnsupportedError, printable

_MAX_PICKLE = 256 << 20  # the pickle holds names and shapes only; the numbers lie beside it


def read(path: Path) -> Contents:
    """The tensors of a zip that torch.save wrote; their values are read on demand. Raises FileError for a
    damaged zip, UnsupportedError for another kind of zip and for a pickle that calls what is not torch's own.
    """
    archive = open_archive(path)
    root = root_of(archive, "data.pkl")
    loaded = unpickled(archive, f"{root}/data.pkl")
    read_storage = storage_reader(archive, f"{root}/data/")
    # `_save` of PyTorch 2.1 and later writes it
    writer = "PyTorch 2 or later" if f"{root}/byteorder" in archive.members else "PyTorch 1.4 or later"
    big_endian = archive.big_endian(f"{root}/byteorder")
    return torch_object.contents(path, "PyTorch zip", writer, loaded, read_storage, big_endian)


def root_of(archive: Archive, member: str) -> str:
    """The one folder that holds `member`, such as data.pkl."""
    roots = [n.partition("/")[0] for n in archive.members if n.count("/") == 1 and n.endswith(f"/{member}")]
    if len(roots) != 1:
        if any(name.rpartition("/")[2] == "model.weights.h5" for name in archive.members):
            raise UnsupportedError(archive.path, "is a Keras zip, not a PyTorch one", "give it the suffix .keras")
        found = f"is a zip archive of {len(archive.members)} members with {len(roots) or 'no'} {member}"
        raise FileError(archive.path, found, "give a file that PyTorch wrote")
    return roots[0]


def unpickled(archive: Archive, name: str) -> Loaded:
    """What the pickle `name` of `archive` describes."""
    size = archive.members[name].file_size
    if size > _MAX_PICKLE:
        found = f"its {printable(name)} has {size} bytes, more than names can need"
        raise FileError(archive.path, found, "save it again")
    return load(io.BytesIO(archive.data(name).tobytes()), archive.path)


def storage_reader(archive: Archive, folder: str) -> ReadStorage:
    """Storage to its (bytes,) uint8, kept as a member of `folder` under the storage's key."""

    @functools.lru_cache(maxsize=16)  # many tensors may be views of one storage; its checksum is computed once
    def read_storage(storage: Storage) -> Array:
        name = folder + storage.key
        if name not in archive.members:
            raise FileError(archive.path, f"lacks the storage {printable(name)} that a tensor lies in", AGAIN)
        wanted = storage.count * (itemsize(storage.dtype) or 1)
        if archive.members[name].file_size != wanted:
            found = f"{printable(name)} has {archive.members[name].file_size} bytes, but its tensors need {wanted}"
            raise FileError(archive.path, found, "save it again with torch.save")
        return archive.data(name)

    return read_storage
