"""The zip form of torch.save: `<root>/data.pkl` beside one stored member `<root>/data/<key>` for each
storage.

Written by default since PyTorch 1.6 (on request since 1.4); layout from torch/serialization.py `_save` and
caffe2/serialize/inline_container.h, 1.5.1 to 2.13.0. `<root>/byteorder`, where it is, says little or big.
"""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib
from pathlib import Path

from rnnverify.canonical import Array
from rnnverify.containers import torch_object
from rnnverify.containers.contents import Contents
from rnnverify.containers.raw_span import itemsize, read_span
from rnnverify.containers.torch_pickle import load
from rnnverify.containers.torch_records import Storage
from rnnverify.errors import FileError, UnsupportedError, printable

_MAX_PICKLE = 256 << 20  # the pickle holds names and shapes only; the numbers lie beside it
_AGAIN = "copy or download it again"


def read(path: Path) -> Contents:
    """The tensors of a zip that torch.save wrote; their values are read on demand. Raises FileError for a
    damaged zip, UnsupportedError for another kind of zip and for a pickle of other things than weights.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError, struct.error) as error:
        raise FileError(path, "is no intact zip archive, truncated or damaged", _AGAIN) from error
    by_name = {member.filename: member for member in members}
    if len(by_name) != len(members):
        raise FileError(path, "is a zip archive with two members of one name", "save it again with torch.save")
    root = _root(path, by_name)
    pickled = by_name[f"{root}/data.pkl"]
    if pickled.file_size > _MAX_PICKLE:
        raise FileError(path, f"its data.pkl has {pickled.file_size} bytes, more than names can need", "save it again")
    big_endian = _big_endian(path, by_name.get(f"{root}/byteorder"))

    @functools.lru_cache(maxsize=16)  # many tensors may be views of one storage; its checksum is computed once
    def read_storage(storage: Storage) -> Array:
        name = f"{root}/data/{storage.key}"
        if name not in by_name:
            raise FileError(path, f"lacks the storage {printable(name)} that a tensor lies in", _AGAIN)
        wanted = storage.count * (itemsize(storage.dtype) or 1)
        if by_name[name].file_size != wanted:
            found = f"{printable(name)} has {by_name[name].file_size} bytes, but its tensors need {wanted}"
            raise FileError(path, found, "save it again with torch.save")
        return _member(path, by_name[name])

    loaded = load(io.BytesIO(_member(path, pickled).tobytes()), path)
    return torch_object.contents(path, "PyTorch zip", _writer(root, by_name), loaded, read_storage, big_endian)


def _root(path: Path, names: dict[str, zipfile.ZipInfo]) -> str:
    """The folder that holds data.pkl. UnsupportedError names the kind where the zip is of another."""
    last = {name.rpartition("/")[2] for name in names}
    weights_only = "load it with its framework and save model.state_dict() with torch.save"
    if last & {"constants.pkl", "model.json"} and "model_weights_config.json" not in last:
        raise UnsupportedError(path, "is a TorchScript archive (torch.jit.save)", weights_only)
    if any("/code/__torch__" in name for name in names):
        raise UnsupportedError(path, "is a TorchScript archive (torch.jit.save)", weights_only)
    if last & {"model_weights_config.json", "archive_format", "serialized_exported_program.json"}:
        raise UnsupportedError(path, "is a torch.export archive (.pt2)", weights_only)
    if last & {"model.weights.h5"}:
        raise UnsupportedError(path, "is a Keras zip, not a PyTorch one", "give it the suffix .keras")
    roots = [name.partition("/")[0] for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(roots) != 1:
        found = f"is a zip archive of {len(names)} members with {len(roots) or 'no'} data.pkl"
        raise FileError(path, found, "give a file that torch.save wrote")
    return roots[0]


def _member(path: Path, member: zipfile.ZipInfo) -> Array:
    """(bytes,) uint8 of a stored member, its checksum compared. torch.save records 0 for every checksum after
    `torch.serialization.set_crc32_options(False)`: then there is none.
    """
    name = printable(member.filename)
    if member.flag_bits & 1:
        raise UnsupportedError(path, f"its member {name} is encrypted", "decrypt the archive first")
    if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
        raise UnsupportedError(
            path,
            f"its member {name} is compressed, which torch.save never does",
            "save it again with torch.save",
        )
    header = read_span(path, member.header_offset, 30).tobytes()
    if header[:4] != b"PK\x03\x04":
        raise FileError(path, f"its member {name} is not where the zip's directory says", _AGAIN)
    name_length, extra_length = struct.unpack("<HH", header[26:])
    data = read_span(path, member.header_offset + 30 + name_length + extra_length, member.file_size)
    if member.CRC and zlib.crc32(data.data) != member.CRC:
        raise FileError(path, f"its member {name} does not match its checksum: damaged", _AGAIN)
    return data


def _big_endian(path: Path, member: zipfile.ZipInfo | None) -> bool:
    if member is None:
        return False
    order = b"" if member.file_size > 16 else _member(path, member).tobytes()
    if order not in (b"little", b"big"):
        raise FileError(path, f"its byteorder is {printable(order)}, neither little nor big", _AGAIN)
    return order == b"big"


def _writer(root: str, names: dict[str, zipfile.ZipInfo]) -> str:
    """The oldest PyTorch that writes such members, as far as they tell."""
    if f"{root}/byteorder" in names:
        return "PyTorch 2 or later"
    return "PyTorch 1.4 or later"
