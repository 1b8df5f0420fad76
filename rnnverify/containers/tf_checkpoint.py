"""TensorFlow checkpoints of generation V2, TensorFlow 0.12 to 2.21: `PREFIX.index` and
`PREFIX.data-00000-of-00001`.

The index is a sorted table: under the empty key a BundleHeaderProto, under each tensor's name a
BundleEntryProto with its place in the data files (tensorflow/core/protobuf/tensor_bundle.proto). A
partitioned variable has one entry that lists its slices, and each slice has an entry of its own under a coded
key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers import tf_checkpoint_v1
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.crc32c import masked_crc32c
from rnnverify.containers.keras_tensorflow import as_keras
from rnnverify.containers.protobuf import MalformedError, Message, parse, read_varint
from rnnverify.containers.saved_model import read_saved_model
from rnnverify.containers.tf_locate import Located, locate
from rnnverify.containers.tf_objects import GRAPH_KEY, checkpoint_nodes
from rnnverify.containers.tf_table import Table
from rnnverify.containers.tf_tensors import (
    Header,
    assemble,
    dtype_name,
    read_shape,
    read_slices,
    slice_key,
    slice_shape,
)
from rnnverify.errors import FileError, UnsupportedError, printable

_SLICE = b"\x00"  # the first byte of a slice's key, and of no name's
_BIG_ENDIAN = 1
_COPY = "copy all files of the checkpoint again"


@dataclass(frozen=True)
class _Entry:
    """One BundleEntryProto: the place of a tensor, or of a slice of one."""

    header: Header
    shard: int
    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class _Bundle:
    prefix: Path
    big_endian: bool
    shards: Mapping[int, tuple[Path, int]]  # number -> file and its size


def read(path: Path) -> Contents:
    """The checkpoint at `path`: its prefix, any of its files, its directory, a SavedModel's directory, or a
    V1 file.

    `metadata["is_object_graph"]` tells a checkpoint of objects (tf.train.Checkpoint) from one of named variables
    (tf.train.Saver); one of a Keras model comes as `keras_tensorflow` describes it. Raises `FileError` where files are
    missing, cut off or damaged.
    """
    try:
        located = locate(path)
        read_tensors = tf_checkpoint_v1.read_tensors if located.single_file else _read_tensors
        tensors = read_tensors(located.prefix)
    except OSError as error:
        raise FileError(path, f"it cannot be read: {error.strerror}") from error
    contents = Contents(
        path=located.prefix,
        form=located.form,
        framework="tensorflow",
        tensors=tensors,
        writer=_writer(located),
        metadata={
            "is_object_graph": GRAPH_KEY in tensors,
            **({"graph": located.graph} if located.graph.is_file() else {}),  # of the variables, not yet read
        },
    )
    return _of_objects(contents, located) if GRAPH_KEY in tensors else contents


def _of_objects(contents: Contents, located: Located) -> Contents:
    index = located.prefix.with_name(located.prefix.name + ".index")
    try:
        nodes = checkpoint_nodes(_text(located.prefix, index, GRAPH_KEY))
        saved = read_saved_model(located.graph) if located.graph.name == "saved_model.pb" else None
        keras = as_keras(contents, nodes, saved)
    except MalformedError as error:
        raise FileError(index, f"a damaged checkpoint of objects: {error}", _COPY) from error
    # what names the folder names the SavedModel again, with all that it states
    return replace(keras, path=located.graph.parent) if saved and keras is not contents else keras


def _read_tensors(prefix: Path) -> dict[str, StoredTensor]:
    index = prefix.with_name(prefix.name + ".index")
    try:
        messages = {key: parse(value) for key, value in Table(index).items()}
        if b"" not in messages:
            raise MalformedError("the header is missing")
        start = messages.pop(b"")
        entries = {key: _entry(key, message) for key, message in messages.items()}
        bundle = _open_shards(prefix, start, {entry.shard for entry in entries.values() if not entry.header.slices})
        for entry in entries.values():
            _check_place(bundle, entry)
        named = [entry for key, entry in entries.items() if not key.startswith(_SLICE)]
        return {entry.header.name: _stored(bundle, entry, entries) for entry in named}
    except MalformedError as error:
        raise FileError(index, f"a damaged checkpoint index: {error}", _COPY) from error


def _entry(key: bytes, message: Message) -> _Entry:
    """BundleEntryProto: dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6, slices = 7."""
    try:
        name = "a slice" if key.startswith(_SLICE) else key.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"the name {printable(key)} is not UTF-8") from error
    slices = read_slices(message.messages(7))
    header = Header(name, dtype_name(message.number(1)), read_shape(message.message(2)), slices)
    return _Entry(header, message.number(3), message.number(4), message.number(5), message.number(6))


def _open_shards(prefix: Path, start: Message, used: set[int]) -> _Bundle:
    """BundleHeaderProto: num_shards = 1, endianness = 2. Only the data files that hold something must be
    there.
    """
    count = start.number(1)
    shards = {}
    for shard in sorted(used):
        if not 0 <= shard < count <= 99999:
            raise MalformedError(f"a tensor lies in data file {shard} of {count}")
        file = prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{count:05d}")
        if not file.is_file():
            raise FileError(prefix, f"its data file {printable(file.name)} is missing", "put it beside the .index file")
        shards[shard] = file, file.stat().st_size
    return _Bundle(prefix, start.number(2) == _BIG_ENDIAN, shards)


def _check_place(bundle: _Bundle, entry: _Entry) -> None:
    """The sizes that the index announces, held against each other and against the files."""
    header, dtype = entry.header, entry.header.stored_dtype
    if header.slices:
        room = sum(size for _, size in bundle.shards.values())
        if dtype is not None and header.elements * dtype.itemsize > room:
            raise MalformedError(f"{printable(header.name)} is larger than all data files together")
        return
    file, room = bundle.shards[entry.shard]
    if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > room:
        wanted = f"bytes {entry.offset} to {entry.offset + entry.size}"
        raise FileError(file, f"{printable(header.name)} should lie in {wanted}, but the file has {room}", _COPY)
    if dtype is not None and header.elements * dtype.itemsize != entry.size:
        raise MalformedError(
            f"{printable(header.name)} is {header.dtype} {header.shape}, but {entry.size} bytes are stored"
        )


def _stored(bundle: _Bundle, entry: _Entry, entries: Mapping[bytes, _Entry]) -> StoredTensor:
    header = entry.header
    if not header.slices:
        return StoredTensor(header.name, header.shape, header.dtype, partial(_values, bundle, header.name, entry))
    slices = {}
    for extent in header.slices:
        part = entries.get(slice_key(header.name, extent))
        if part is None or part.header.slices:
            raise MalformedError(f"a slice of {printable(header.name)} is missing")
        if (part.header.dtype, part.header.shape) != (header.dtype, slice_shape(extent, header.shape)):
            raise MalformedError(f"a slice of {printable(header.name)} has another dtype or shape than announced")
        slices[extent] = part

    def read_slices() -> Array:
        try:
            return assemble(header, ((extent, _values(bundle, header.name, part)) for extent, part in slices.items()))
        except MalformedError as error:
            raise FileError(bundle.prefix, str(error), _COPY) from error

    return StoredTensor(header.name, header.shape, header.dtype, read_slices)


def _values(bundle: _Bundle, name: str, entry: _Entry) -> Array:
    dtype = entry.header.stored_dtype
    if dtype is None:
        found = f"{printable(name)} is {entry.header.dtype}, which this version does not read"
        raise UnsupportedError(bundle.prefix, found, "weights are floating-point numbers")
    file, _ = bundle.shards[entry.shard]
    try:
        octets = np.fromfile(file, dtype=np.uint8, count=entry.size, offset=entry.offset)
    except OSError as error:
        raise FileError(file, f"it cannot be read: {error.strerror}") from error
    if octets.size != entry.size or masked_crc32c(octets) != entry.crc:
        raise FileError(file, f"the checksum of {printable(name)} is wrong: the data are damaged", _COPY)
    return entry.header.array(octets.view(dtype.newbyteorder(">") if bundle.big_endian else dtype))


def _text(prefix: Path, index: Path, key: str) -> bytes:
    """A text tensor of one element: its length as a varint, that length's checksum, the text (WriteStringTensor,
    tensorflow/core/util/tensor_bundle/tensor_bundle.cc).
    """
    table = Table(index)
    start, stored = table.get(b""), table.get(key.encode())
    if start is None or stored is None:
        raise MalformedError(f"{key} is missing")
    entry = _entry(key.encode(), parse(stored))
    bundle = _open_shards(prefix, parse(start), {entry.shard})
    _check_place(bundle, entry)
    file, _ = bundle.shards[entry.shard]
    octets = np.fromfile(file, dtype=np.uint8, count=entry.size, offset=entry.offset).tobytes()
    length, at = read_varint(octets, 0)
    text = octets[at + 4 :]
    checked = length.to_bytes(4 if length < 1 << 32 else 8, "little") + octets[at:]
    if entry.header.elements != 1 or len(text) != length or masked_crc32c(checked) != entry.crc:
        raise MalformedError(f"the data of {key} are damaged")
    return text


def _writer(located: Located) -> str:
    """The version that wrote the graph beside the checkpoint: MetaGraphDef.meta_info_def = 1,
    tensorflow_version = 5.
    """
    try:
        with located.graph.open("rb") as file:
            graph = parse(file.read(1 << 20), cut=True)
        if located.graph.suffix == ".pb":  # SavedModel: meta_graphs = 2
            graph = parse(graph.chunk(2), cut=True)
        version = parse(graph.chunk(1), cut=True).text(5)
    except (OSError, MalformedError):
        return "TensorFlow"
    return f"TensorFlow {printable(version, 40)}" if version else "TensorFlow"
