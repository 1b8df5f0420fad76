"""`.keras`: a zip of `metadata.json`, `config.json` and `model.weights.h5` (Keras 3; tf.keras 2.12 and later).

Source: keras/src/saving/saving_lib.py, 3.0. Nothing is extracted: three members are read by name, in memory.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from rnnverify.containers.contents import Contents
from rnnverify.containers.hdf5 import read_bytes, writer
from rnnverify.containers.keras_json import parse_object
from rnnverify.errors import FileError

_WEIGHTS = "model.weights.h5"
_INFLATION = 200  # times a member may grow: Keras stores its members as they are
_SMALL = 2**24  # bytes: below, no size is a threat


def read(path: Path) -> Contents:
    """The tensors of the inner HDF5 file, with `model_config` and `keras_version` in the metadata where stated.

    Raises `FileError` where the zip is cut off, its checksums do not hold, a member is encrypted, grows beyond
    reason, or is missing. A zip without `config.json` is read, as weights.
    """
    if not path.is_file():
        raise FileError(path, "is no plain file" if path.exists() else "no such file", "name a .keras file")
    if path.stat().st_size == 0:
        raise FileError(path, "the file is empty", "save the model again")
    try:
        with zipfile.ZipFile(path) as archive:
            present = [info.filename for info in archive.infolist()]
            members = {
                name: _member(path, archive, name, present)
                for name in ("metadata.json", "config.json", _WEIGHTS)
                if name in present
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError) as problem:
        found = f"the zip is truncated or damaged ({problem})"
        raise FileError(path, found, "copy or save the file again") from None
    if _WEIGHTS not in members:
        raise FileError(path, f"the zip holds no {_WEIGHTS}", "name a .keras file that Keras wrote")
    tensors, metadata = read_bytes(path, members[_WEIGHTS], _WEIGHTS)
    if "metadata.json" in members:
        version = parse_object(path, "metadata.json", members["metadata.json"]).get("keras_version")
        if isinstance(version, str):
            metadata["keras_version"] = version
    if "config.json" in members:
        metadata["model_config"] = parse_object(path, "config.json", members["config.json"])
    return Contents(path, "Keras zip", "keras", tensors, writer(metadata), metadata)


def _member(path: Path, archive: zipfile.ZipFile, name: str, present: list[str]) -> bytes:
    info = archive.getinfo(name)
    if present.count(name) > 1:
        raise FileError(path, f"the zip holds {name} more than once", "save the model again")
    if info.flag_bits & 1:
        raise FileError(path, f"{name} is encrypted", "decrypt the file first")
    if info.file_size > _SMALL and info.file_size > _INFLATION * info.compress_size:
        found = f"{name} announces {info.file_size} bytes, but the zip stores {info.compress_size} for it"
        raise FileError(path, found, "save the model again")
    return archive.read(info)
