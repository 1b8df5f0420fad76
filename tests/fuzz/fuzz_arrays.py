"""Mutations of safetensors files, and of the NumPy files that traces and inputs come in."""

from __future__ import annotations

import io
from random import Random

import numpy as np
from fuzz_values import Sample, fixture, integer, mutated_bytes, mutated_json
from fuzz_zips import mutated_zip

_SAFETENSORS = ("rnn.safetensors", "genuine/torch-2.13.0/rnn_bi2l_safetensors/model.safetensors")
_TYPES = (
    "<f4",
    ">f4",
    "<f8",
    "<f2",
    "|O",
    "<i8",
    "|b1",
    "<U3",
    "|S5",
    "<c8",
    "|V2",
    "<M8[s]",
    "[('a', '<f4')]",
    "",
    "<f999999999",
)


def safetensors(rng: Random) -> Sample:
    data = fixture(rng.choice(_SAFETENSORS))
    length = int.from_bytes(data[:8], "little")
    header, numbers = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.1:
        return Sample("model.safetensors", {"model.safetensors": mutated_bytes(rng, data)})
    header = mutated_json(rng, header)
    announced = len(header) if rng.random() < 0.95 else integer(rng) % 2**64
    return Sample("model.safetensors", {"model.safetensors": announced.to_bytes(8, "little") + header + numbers})


def trace(rng: Random) -> Sample:
    """A trace, and an .npz of inputs: the same arrays to one reader and the other."""
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {
        "x": np.ones((2, 3, 5), np.float32),
        "y": np.ones((2, 3, 8), np.float32),
        "h_n": np.ones((1, 2, 8), np.float32),
        "h0": np.ones((1, 2, 8), np.float32),
        "y_from_h0": np.ones((2, 3, 8), np.float32),
        "states_0": np.ones((2, 3, 8), np.float32),
    }
    chosen = {name: array for name, array in arrays.items() if rng.random() < 0.9}
    buffer = io.BytesIO()
    provenance = np.array(rng.choice(('{"a": 1}', "[1]", "{", "[" * 5000, "1")))
    # the stubs of savez take every name for a keyword of its own
    np.savez(buffer, provenance=provenance, **chosen)  # type: ignore[arg-type]
    return Sample("trace.npz", {"trace.npz": mutated_zip(rng, buffer.getvalue(), {".npy": mutated_npy})})


def npy(rng: Random) -> Sample:
    return Sample("inputs.npy", {"inputs.npy": mutated_npy(rng, fixture("inputs.npy"))})


def mutated_npy(rng: Random, data: bytes) -> bytes:
    """An .npy with another header, whose length holds, or with bytes changed."""
    if rng.random() < 0.3:
        return mutated_bytes(rng, data)
    size = int.from_bytes(data[8:10], "little")
    shape = tuple(
        integer(rng) if rng.random() < 0.4 else rng.randrange(1, 9) for _ in range(rng.choice((0, 1, 2, 3, 3, 3, 40)))
    )
    words = rng.choice((repr(shape), "(3, 7, 5)", "(3, 7, 5)", "None", "(1e9,)", "(" * 200 + ")" * 200, "(True,)"))
    kind = rng.choice(_TYPES)
    described = kind if kind.startswith("[") else repr(kind)
    order = rng.choice(("True", "False", "1", "None"))
    header = f"{{'descr': {described}, 'fortran_order': {order}, 'shape': {words}, }}".encode()
    if rng.random() < 0.1:
        header = mutated_bytes(rng, header)
    return data[:6] + bytes([1, 0]) + len(header).to_bytes(2, "little") + header + data[10 + size :]
