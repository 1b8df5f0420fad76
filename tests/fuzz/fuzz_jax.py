"""Mutations of what Flax and Equinox write: MessagePack, Orbax's folders, and leaves one after another."""

from __future__ import annotations

from random import Random
from typing import Any

import msgpack
from flax_files import packed
from fuzz_arrays import mutated_npy
from fuzz_values import FIXTURES, Sample, fixture, integer, json_value, mutated_bytes, mutated_json, spliced

_MSGPACK = ("simple_cell.msgpack", "gru_nnx.msgpack", "genuine/flax-0.12.8/lstm_2l_msgpack/model.msgpack")
_ORBAX = ("bidirectional_nnx", "genuine/flax-0.12.8/rnn_2l_orbax/orbax")
_EQUINOX = ("gru.eqx", "lstm.eqx")
_KEYS = ("params", "cell", "i", "h", "kernel", "bias", "dense_i", "hn", "0", "forward_rnn", "SimpleCell_1", "\x1b", "")
_NPY = b"\x93NUMPY"


def flax_msgpack(rng: Random) -> Sample:
    data = fixture(rng.choice(_MSGPACK))
    if rng.random() < 0.5:
        return Sample("model.msgpack", {"model.msgpack": mutated_bytes(rng, data)})
    tree = msgpack.unpackb(data, ext_hook=msgpack.ExtType)
    for _ in range(rng.choice((1, 1, 2, 4))):
        tree = _changed(rng, tree)
    return Sample("model.msgpack", {"model.msgpack": packed(tree if isinstance(tree, dict) else {"params": tree})})


def _changed(rng: Random, value: Any) -> Any:
    """`value` with one node below it renamed, dropped, doubled or changed."""
    if isinstance(value, msgpack.ExtType):
        return msgpack.ExtType(rng.choice((1, 1, 1, 2, 3, 9)), _array(rng, value.data))
    if not isinstance(value, dict) or not value:
        return rng.choice((json_value(rng), [], {}, {"__msgpack_chunked_array__": True, "shape": {"0": 2}}))
    key = rng.choice(list(value))
    action = rng.randrange(8)
    if action == 0:
        return {k: v for k, v in value.items() if k != key}
    if action == 1:
        return {**value, rng.choice(_KEYS): value[key]}
    if action == 2:
        return {(rng.choice(_KEYS) if k == key else k): v for k, v in value.items()}
    return {**value, key: _changed(rng, value[key])}


def _array(rng: Random, data: bytes) -> bytes:
    """(shape, dtype, numbers) with another of the three."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, data)
    try:
        shape, dtype, numbers = msgpack.unpackb(data)
    except (ValueError, TypeError):  # it was changed before
        return mutated_bytes(rng, data)
    if not isinstance(shape, list):
        return mutated_bytes(rng, data)
    if rng.random() < 0.5:
        shape = [integer(rng, 3) % 2**64 for _ in shape] * rng.choice((0, 1, 1, 40))
    else:
        dtype = rng.choice(("float64", "bfloat16", "object", "V4", "", "int32", "\x1b[0m", "float32" * 100, None, 3))
    return bytes(msgpack.packb((shape, dtype, numbers)))


def orbax(rng: Random) -> Sample:
    """One file of a checkpoint changed, dropped, or given another name."""
    folder = FIXTURES / rng.choice(_ORBAX)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(sorted(name for name in files if not name.startswith("ocdbt")) or sorted(files))
        action = rng.randrange(8)
        if action == 0 and len(files) > 1:
            del files[name]
        elif action == 1:
            files[rng.choice(("manifest.ocdbt", "d/0", f"3/{name}"))] = files[name]
        elif name.startswith("_"):
            files[name] = _json(rng, files[name])
        else:
            files[name] = mutated_bytes(rng, files[name])
    return Sample("model", {f"model/{name}": content for name, content in files.items()})


def _json(rng: Random, data: bytes) -> bytes:
    try:
        return mutated_json(rng, data)
    except ValueError:  # it was changed before
        return mutated_bytes(rng, data)


def equinox(rng: Random) -> Sample:
    first, *arrays = fixture(rng.choice(_EQUINOX)).split(_NPY)
    parts = spliced(
        rng, [_NPY + array for array in arrays], mutated_npy, lambda rng: mutated_npy(rng, fixture("inputs.npy"))
    )
    data = rng.choice((first, b"", b"{}\n", b'{"a"')) + b"".join(parts)
    return Sample("model.eqx", {"model.eqx": mutated_bytes(rng, data) if rng.random() < 0.2 else data})
