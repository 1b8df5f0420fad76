"""Mutations of Keras files: attributes, JSON, groups and datasets through h5py, and the bytes of HDF5 itself."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from functools import cache
from random import Random
from typing import Any

import numpy as np
from fuzz_values import Sample, fixture, integer, json_value, mutated_bytes, mutated_json
from fuzz_zips import mutated_zip

_FULL = (
    "simple_rnn.h5",
    "bidirectional.h5",
    "simple_rnn.weights.h5",
    "genuine/keras-1.2.2/rnn_bi_sum_h5/model.h5",
    "genuine/keras-2.0.9/rnn_a_cell/model.h5",
    "genuine/keras-2.3.1/rnn_3l_het_cells/model.h5",
    "genuine/keras-3.0.5/rnn_multi_weights/model.weights.h5",
    "genuine/keras-0.3.3-theano/rnn_back_weights/weights.h5",
    "genuine/tf.keras-2.4.4/rnn_2l_nested_h5/model.h5",
)
_ZIPS = ("simple_rnn.keras", "stacked.keras", "bidirectional.keras", "genuine/keras-3.15.1/rnn_bf16/model.keras")
_MARKS = (b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"FRHP", b"FHDB", b"BTHD", b"\x89HDF")
_CANNOT = (OSError, RuntimeError, KeyError, ValueError, TypeError)  # what h5py says to a change that it cannot make


def hdf5(rng: Random) -> Sample:
    """A sound HDF5 file that says something else."""
    return Sample("model.h5", {"model.h5": mutated_hdf5(rng, fixture(rng.choice(_FULL)))})


def hdf5_bytes(rng: Random) -> Sample:
    """A file whose own structure is damaged."""
    return Sample("model.h5", {"model.h5": mutated_structure(rng, fixture(rng.choice(_FULL)))})


def keras_zip(rng: Random) -> Sample:
    data = fixture(rng.choice(_ZIPS))
    inner = rng.choice((mutated_hdf5, mutated_hdf5, mutated_structure))
    return Sample("model.keras", {"model.keras": mutated_zip(rng, data, {".json": mutated_json, ".h5": inner})})


def mutated_structure(rng: Random, data: bytes) -> bytes:
    """Numbers overwritten behind the marks by which HDF5 knows its trees, heaps and headers, or anywhere."""
    out, marks = bytearray(data), marks_in(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.choice(marks) + rng.randrange(4, 300) if marks and rng.random() < 0.6 else rng.randrange(len(out))
        at, width = min(at, len(out) - 1), rng.choice((1, 1, 2, 4, 8))
        old = int.from_bytes(out[at : at + width], "little")
        out[at : at + width] = (integer(rng, old) % 256**width).to_bytes(width, "little")
    return bytes(out[: len(data)])


@cache
def marks_in(data: bytes) -> tuple[int, ...]:
    return tuple(match.start() for match in re.finditer(b"|".join(map(re.escape, _MARKS)), data))


def mutated_hdf5(rng: Random, data: bytes) -> bytes:
    import h5py

    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        places: list[Any] = [file]
        file.visititems(lambda _, item: places.append(item))
        for _ in range(rng.choice((1, 1, 2, 4))):
            place = rng.choice(places)
            if not place:  # it was deleted
                continue
            with suppress(*_CANNOT):
                if isinstance(place, h5py.Dataset):
                    _change_dataset(rng, file, place)
                elif len(place.attrs) and rng.random() < 0.8:
                    _change_attribute(rng, place, rng.choice(list(place.attrs)))
                else:
                    _change_group(rng, file, place)
    return buffer.getvalue()


def _change_attribute(rng: Random, place: Any, key: str) -> None:
    import h5py

    value = place.attrs[key]
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    action = rng.randrange(8)
    if isinstance(text, str) and text.startswith(("{", "[")) and action < 6:
        place.attrs[key] = mutated_json(rng, text)
    elif action == 0:
        del place.attrs[key]
    elif action == 1:
        place.attrs[key] = h5py.Empty("f4")
    elif action == 2:
        place.attrs[key] = np.arange(3)
    elif action == 3:
        place.attrs.create(key, place.ref, dtype=h5py.ref_dtype)
    elif action == 4 and isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        names = [str(json_value(rng)).replace("\0", "")[:200].encode() for _ in range(rng.randrange(4))]
        kept = [v.encode() if isinstance(v, str) else bytes(v) for v in value.ravel()]
        place.attrs[key] = np.array([*kept, *names] or [b""])
    elif isinstance(text, str):
        place.attrs[key] = mutated_bytes(rng, text.encode()).replace(b"\0", b"")
    else:
        place.attrs[key] = str(json_value(rng)).replace("\0", "")


def _change_dataset(rng: Random, file: Any, dataset: Any) -> None:
    name = dataset.name
    shape = [max(0, integer(rng, n)) % 50 if rng.random() < 0.5 else n for n in dataset.shape or (1,)]
    shape = rng.choice((shape, shape[::-1], [*shape, 1], []))
    dtype = rng.choice(("f4", "f2", "f8", ">f4", "i4", "u1", "c8", "S5", "V2", "bool"))
    options = {"compression": "gzip", "chunks": True} if shape and 0 not in shape and rng.random() < 0.3 else {}
    del file[name]
    if rng.random() < 0.9:
        file.create_dataset(name, shape, dtype, **options)


def _change_group(rng: Random, file: Any, group: Any) -> None:
    import h5py

    action, name = rng.randrange(6), rng.choice(("again", "\x1b[31m", "vars", "0", "a" * 300))
    names = list(group)
    if action == 0 and names:
        del group[rng.choice(names)]
    elif name in group:
        return
    elif action == 1 and names:
        group[name] = h5py.SoftLink(rng.choice(("/", group.name, "/nowhere")))
    elif action == 2:
        group[name] = h5py.ExternalLink("/etc/passwd", "/")
    elif action == 3:
        group[name] = file  # a cycle
    elif names:
        group.move(rng.choice(names), name)
