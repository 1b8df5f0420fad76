"""safetensors in several files: `model.safetensors.index.json` says which file holds which tensor.

`weight_map` maps tensor names to file names, `metadata.total_size` is the number of bytes of all tensors
(huggingface_hub/serialization/_base.py, 0.26; transformers/modeling_utils.py, 4.45). The files lie beside the index:
one anywhere else is refused, by name or by a link. Links are followed where index and files really lie in one folder,
as a download cache keeps them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from rnnverify.containers import safetensors_file
from rnnverify.containers.contents import Contents, FrameworkName, StoredTensor
from rnnverify.containers.flax_names import are_of_flax
from rnnverify.containers.raw_span import itemsize
from rnnverify.errors import FileError, printable

_MAX_INDEX = 64 << 20  # bytes
_MAX_FILES = 1000
_AGAIN = "download the model again"


def read(path: Path) -> Contents:
    """The tensors of all files that the index at `path` (or in the folder `path`) names; values are read on demand.

    Raises FileError for an index that is no sound one, for files that are missing or lie elsewhere, and for tensors
    and sizes that are not the announced ones.
    """
    if path.is_dir():
        found = sorted(path.glob("*.safetensors.index.json"))
        if len(found) != 1:
            raise FileError(path, f"holds {len(found)} indices of safetensors files", "give one of them")
        path = found[0]
    weight_map, announced = _index(path)
    names = list(dict.fromkeys(weight_map.values()))
    if len(names) > _MAX_FILES:
        raise FileError(path, f"names {len(names)} files, more than {_MAX_FILES}", _AGAIN)
    files = {name: safetensors_file.read(_beside(path, name)) for name in names}
    tensors: dict[str, StoredTensor] = {}
    for tensor, name in weight_map.items():
        if tensor not in files[name].tensors:
            raise FileError(path, f"names {printable(tensor)} in {printable(name)}, which lacks it", _AGAIN)
        tensors[tensor] = files[name].tensors[tensor]
    size = sum(math.prod(t.shape) * (itemsize(t.dtype) or 0) for t in tensors.values())
    if announced is not None and announced != size and all(itemsize(t.dtype) for t in tensors.values()):
        raise FileError(path, f"announces {announced} bytes of tensors, but its files hold {size}", _AGAIN)
    beyond = sum(len(contents.tensors) for contents in files.values()) - len(tensors)
    notes = (f"left aside: {beyond} tensor(s) that the index does not list",) if beyond else ()
    metadata = {"files": [str(contents.path.absolute()) for contents in files.values()]}
    framework: FrameworkName | None = "flax" if are_of_flax(tensors) else None
    return Contents(path, f"safetensors, {len(files)} files", framework, tensors, metadata=metadata, notes=notes)


def _index(path: Path) -> tuple[Mapping[str, str], int | None]:
    """`weight_map`, and the announced size of all tensors in bytes where it is there."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_INDEX + 1)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "check the path") from error
    try:
        if len(text) > _MAX_INDEX:
            raise ValueError("too long")
        index = json.loads(text)
        weight_map, metadata = index["weight_map"], index.get("metadata") or {}
        if not weight_map or not all(isinstance(name, str) for name in weight_map.values()):
            raise TypeError("no map of names")
        announced = metadata.get("total_size")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FileError(path, "is no sound index of safetensors files", _AGAIN) from error
    if isinstance(announced, float) and announced.is_integer():
        announced = int(announced)
    return weight_map, announced if isinstance(announced, int) else None


def _beside(path: Path, name: str) -> Path:
    """The file `name` beside the index at `path`. FileError where it is not there, or really lies elsewhere."""
    if name in ("", ".", "..") or any(character in name for character in "/\\\0:"):
        found = f"names the file {printable(name)}, which is no plain name"
        raise FileError(path, found, "every file must lie beside the index")
    file = path.parent / name
    try:
        real, folders = file.resolve(strict=True), {path.parent.resolve(), path.resolve().parent}
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise FileError(path, f"names the file {printable(name)}, which is not there", _AGAIN) from error
    if real.parent not in folders:
        found = f"names the file {printable(name)}, a link to another folder"
        raise FileError(path, found, "put the file itself beside the index")
    if not real.is_file():
        raise FileError(path, f"names {printable(name)}, which is no regular file", _AGAIN)
    return file
