"""File forms: bytes to named arrays and what the file says about itself. No framework is imported here.

`open_model(path)` tells the form by content, never by suffix, and hands the path to the module of that form. A new form
is one module with `read(path) -> Contents`, and a line in `form_of` and in `FORMS`.
"""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Literal

from rnnverify.containers.contents import Contents, FrameworkName, StoredTensor
from rnnverify.containers.flax_names import are_of_flax, is_msgpack
from rnnverify.containers.foreign import refuse_file
from rnnverify.containers.onnx_graph import is_onnx
from rnnverify.containers.orbax import is_orbax
from rnnverify.containers.tf_graph import is_graph, refuse_without_weights
from rnnverify.errors import FileError

__all__ = ["FORMS", "Contents", "FormName", "FrameworkName", "StoredTensor", "form_of", "open_model"]

FormName = Literal[
    "hdf5",
    "keras_zip",
    "torch_zip",
    "torch_legacy",
    "torch_tar",
    "torch_script",
    "torch_export",
    "safetensors_file",
    "safetensors_index",
    "tf_checkpoint",
    "tf_frozen",
    "onnx_model",
    "flax_msgpack",
    "orbax",
    "equinox_leaves",
    "npz",
]

FORMS: dict[FormName, tuple[str, FrameworkName | None]] = {
    "hdf5": ("rnnverify.containers.hdf5", "keras"),
    "keras_zip": ("rnnverify.containers.keras_zip", "keras"),
    "torch_zip": ("rnnverify.containers.torch_zip", "torch"),
    "torch_legacy": ("rnnverify.containers.torch_legacy", "torch"),
    "torch_tar": ("rnnverify.containers.torch_tar", "torch"),
    "torch_script": ("rnnverify.containers.torch_script", "torch"),
    "torch_export": ("rnnverify.containers.torch_export", "torch"),
    "safetensors_file": ("rnnverify.containers.safetensors_file", None),
    "safetensors_index": ("rnnverify.containers.safetensors_index", None),
    "tf_checkpoint": ("rnnverify.containers.tf_checkpoint", "tensorflow"),
    "tf_frozen": ("rnnverify.containers.tf_frozen", "tensorflow"),
    "onnx_model": ("rnnverify.containers.onnx_model", "onnx"),
    "flax_msgpack": ("rnnverify.containers.flax_msgpack", "flax"),
    "orbax": ("rnnverify.containers.orbax", "flax"),
    "equinox_leaves": ("rnnverify.containers.equinox_leaves", "equinox"),
    "npz": ("rnnverify.containers.npz", None),
}
"""Form to its module (imported when a file of that form is opened) and the framework that writes it."""

# torch.save before 1.6 begins with the pickled integer 0x1950a86a20f9469cfc6c, by protocols 0 and 1 as text
_TORCH_MAGIC = (b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", b"L119547037146038801333356L\n")
_NPY = b"\x93NUMPY"
_STATE_DICT = re.compile(r"(?:.*[./])?weight_(?:ih|hh)(?:_l\d+(?:_reverse)?)?\.npy", re.DOTALL)
"""Members of an .npz that holds a state_dict: names that no trace has."""
_KNOWN = (
    "known are Keras .h5, .keras and .weights.h5, PyTorch .pt, safetensors, TensorFlow checkpoints and graphs, "
    "Flax msgpack and Orbax, Equinox .eqx, ONNX"
)


def open_model(path: Path) -> Contents:
    """Take the model file at `path` apart. Raises FileError, or UnsupportedError for a form refused by name."""
    read: Callable[[Path], Contents] = import_module(FORMS[form_of(path)][0]).read
    try:
        return read(path)
    except RecursionError as error:
        raise FileError(path, "it is nested too deeply to be a model", "save the model again") from error
    except MemoryError as error:
        raise FileError(path, "it does not fit into memory", "use a machine with more of it") from error
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})", "check it and its permissions") from error


def form_of(path: Path) -> FormName:
    """The form of the file or directory at `path`, by its first bytes. Raises FileError where it is none of FORMS."""
    try:
        mode = path.stat().st_mode
    except ValueError as error:
        raise FileError(path, "is no path", "a path holds no NUL character") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) and Path(f"{path}.index").is_file():
            return "tf_checkpoint"
        missing = isinstance(error, FileNotFoundError)
        found = "there is no such file" if missing else f"cannot be opened ({error.strerror})"
        raise FileError(path, found, "for a TensorFlow checkpoint give its prefix, without .index") from error
    if stat.S_ISDIR(mode):
        if (path / "checkpoint").is_file():
            return "tf_checkpoint"
        if (path / "saved_model.pb").is_file():
            return "tf_checkpoint"
        if any(path.glob("*.safetensors.index.json")):
            return "safetensors_index"
        if is_orbax(path):
            return "orbax"
        found = "is a directory with neither a TensorFlow `checkpoint` nor a saved_model.pb in it"
        raise FileError(path, found, "give a model file")
    if not stat.S_ISREG(mode):
        raise FileError(path, "is no regular file", "give a model file")
    if path.name == "saved_model.pb":
        return "tf_checkpoint"
    try:
        with path.open("rb") as file:
            start, size = file.read(512), path.stat().st_size
            file.seek(max(0, size - 8))
            end = file.read(8)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "check its permissions") from error
    return _form_by_content(path, start, end, size)


def _form_by_content(path: Path, start: bytes, end: bytes, size: int) -> FormName:
    if not start:
        raise FileError(path, "the file is empty", "save the model again")
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if start.startswith(b"PK"):
        return _zip_form(path)
    if end == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":  # the table magic of leveldb, little-endian
        return "tf_checkpoint"
    if any(magic in start[:32] for magic in _TORCH_MAGIC):
        return "torch_legacy"
    if start[257:262] == b"ustar":
        return "torch_tar"
    if start.startswith(b"\x1f\x8b"):
        raise FileError(path, "is compressed with gzip", "decompress it first: gunzip")
    if start.startswith(_NPY) or (start[:1] == b"{" and (_NPY in start or path.suffix == ".eqx")):
        return "equinox_leaves"
    if start.lstrip()[:1] == b"{" and (b'"weight_map"' in start or path.name.endswith(".safetensors.index.json")):
        return "safetensors_index"
    if len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size:
        return "safetensors_file"
    if len(start) > 8 and start[8:9] == b"{":
        raise FileError(path, "its safetensors header is longer than the file", "it is truncated: fetch it again")
    if start[:1] == b"\x80" or path.suffix in (".pt", ".pth"):
        raise FileError(path, "is no file that torch.save wrote", "save it with torch.save(model.state_dict(), path)")
    if start.startswith(b"model_checkpoint_path:"):
        raise FileError(path, "only points at a checkpoint", "give its directory, or the prefix beside it")
    if is_graph(start):
        return "tf_frozen"
    if is_onnx(start):
        return "onnx_model"
    refuse_without_weights(path, start)
    if path.suffix == ".index" or path.name.rpartition(".")[2].startswith("data-"):
        raise FileError(path, "is only a part of a TensorFlow checkpoint, or damaged", "give the checkpoint's prefix")
    refuse_file(path, start)
    if is_msgpack(start):
        return "flax_msgpack"
    raise FileError(path, "is no model file of a known form", _KNOWN)


def _zip_form(path: Path) -> FormName:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        found = "is a zip archive without an intact directory, truncated or corrupt"
        raise FileError(path, found, "copy or save it again") from error
    if "model.weights.h5" in names or ("config.json" in names and "metadata.json" in names):
        return "keras_zip"
    inside = {name.rpartition("/")[2] for name in names}
    if inside & {"archive_format", "model_weights_config.json", "serialized_exported_program.json"}:
        return "torch_export"
    if inside & {"constants.pkl", "model.json"} or any("/code/" in name for name in names):
        return "torch_script"
    if "data.pkl" in inside:
        return "torch_zip"
    if any(_STATE_DICT.fullmatch(name) for name in names):
        return "npz"
    if are_of_flax(name.removesuffix(".npy") for name in names):
        return "npz"
    if any(name.endswith(".npy") for name in names):
        raise FileError(path, "is an .npz without the arrays x and y of a trace", "give a model file, or a trace")
    raise FileError(path, f"is a zip archive of {len(names)} files, and holds no model", _KNOWN)
