"""The sequences that every side is run on: determined by (seed, shape), or read from a file.

Generated values come from SHAKE-256, which is defined bit by bit, and only exact operations follow (a shift, and
products with powers of two), so that a seed means the same numbers on every machine and in every version of NumPy.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnverify.arrays import open_npy, open_npz, release
from rnnverify.canonical import Array, Network
from rnnverify.errors import FileError, InputsError, printable
from rnnverify.trace import FROM_H0, LENGTHS, ZERO, Batch
from rnnverify.trace_file import read_lengths, read_states

_AMPLITUDES = (1.0, 0.5, 2.0, 1.0)  # of successive sequences: some stay near linear, some reach the bend
_H0_SEQUENCES, _H0_STEPS = 8, 256  # an initial state is forgotten: a part of long inputs shows its effect


@dataclass(frozen=True)
class InputOptions:
    """What the sequences are made of. `file` takes the place of the first three."""

    sequences: int = 8
    steps: int = 32
    seed: int = 0
    file: Path | None = None
    probes: bool = True  # one-step calls beside the sequences
    lengths: tuple[int, ...] = ()  # of successive sequences, again and again; each at most `steps`

    def __post_init__(self) -> None:
        for name in ("sequences", "steps"):
            if getattr(self, name) < 1:
                raise InputsError(f"--{name} {getattr(self, name)}: at least 1 is needed")
        if self.sequences * self.steps > 2**31:
            raise InputsError(f"{self.sequences} sequences of {self.steps} steps do not fit in memory: ask for fewer")
        if self.lengths and not 1 <= min(self.lengths) <= max(self.lengths) <= self.steps and not self.file:
            given = ",".join(map(str, self.lengths))
            raise InputsError(f"--lengths {given}: wanted lengths from 1 to the {self.steps} of --steps")
        if self.seed < 0:
            raise InputsError(f"--seed {self.seed}: a seed is 0 or more")


def parse_lengths(text: str) -> tuple[int, ...]:
    """`5,12,32` as numbers. Raises InputsError."""
    pieces = [piece.strip() for piece in text.split(",")]
    if not all(piece.isascii() and piece.isdigit() and len(piece) < 10 for piece in pieces):
        raise InputsError(f"--lengths {printable(text, 60)}: wanted whole numbers of steps, such as 5,12,32")
    return tuple(map(int, pieces))


def make_batches(
    options: InputOptions, network: Network, embed: Callable[[Array], Array] | None = None
) -> tuple[Batch, ...]:
    """A batch from zero states and one from random initial states, both float32 or the dtype of the file.

    Tokens (B, T) in a file become features by `embed`, which raises IndexError. Raises InputsError where a
    file of inputs does not fit `network`.
    """
    source = _Uniform(options.seed)
    states: tuple[Array, ...] = ()
    cells: tuple[Array, ...] = ()
    lengths: Array | None = None
    if options.file is None:
        shape = (options.sequences, options.steps, network.input_size)
        amplitude = np.resize(_AMPLITUDES, options.sequences) * input_scale(network)
        x = source.take(shape) * amplitude.astype(np.float32)[:, None, None]
    else:
        x, states, cells, lengths = read_inputs(options.file)
        x = _features(options.file, x, embed) if x.ndim == 2 else x
        if x.shape[2] != network.input_size:
            found = f"has {x.shape[2]} features in its last axis, the baseline reads {network.input_size}"
            raise InputsError(f"{printable(options.file)}: {found}; wanted (B, T, {network.input_size})")
    if options.lengths:
        lengths = _cycled(options, *x.shape[:2])
    padded = () if lengths is None else (Batch(LENGTHS, x, lengths=lengths),)
    sizes, cell_sizes = network.state_sizes()
    if states or cells:
        for name, given, wanted in (("h0", states, sizes), ("c0", cells, cell_sizes)):
            if given or name == "h0":
                _check_states(options.file, name, given, x.shape[0], wanted)
        return Batch(ZERO, x), Batch(FROM_H0, x, states, cells or None), *padded
    part = x[:_H0_SEQUENCES, :_H0_STEPS]
    states, cells = (tuple(source.take((len(part), size)) for size in each) for each in (sizes, cell_sizes))
    return Batch(ZERO, x), Batch(FROM_H0, part, states, cells or None), *padded


def _features(path: Path, tokens: Array, embed: Callable[[Array], Array] | None) -> Array:
    if embed is None:
        found = f"holds tokens of shape {tokens.shape}, and no side has an embedding"
        raise InputsError(f"{printable(path)}: {found}; wanted (B, T, I)")
    try:
        return embed(tokens)
    except IndexError as error:
        raise InputsError(f"{printable(path)}: holds {error}; wanted numbers of rows, from 0") from error


def _cycled(options: InputOptions, B: int, T: int) -> Array:
    """A length for each of B sequences of T steps."""
    lengths = np.resize(np.array(options.lengths, np.int64), B)
    if not 1 <= lengths.min() <= lengths.max() <= T:
        raise InputsError(
            f"--lengths: {printable(options.file)} has sequences of {T} steps; wanted lengths from 1 to that"
        )
    return lengths


def input_scale(network: Network) -> float:
    """The power of two that brings the input's share of the pre-activation to a standard deviation of about 1.

    Smaller inputs keep tanh in its linear part, larger ones saturate it, and either hides differences.
    """
    norms = [np.linalg.norm(d.kernel.astype(np.float64), axis=1) for d in network.layers[0].directions]
    typical = float(np.median(norms))
    if not typical > 0:
        return 1.0
    return float(2.0 ** np.clip(np.round(np.log2(np.sqrt(3.0) / typical)), -10, 10))


def read_inputs(path: Path) -> tuple[Array, tuple[Array, ...], tuple[Array, ...], Array | None]:
    """`x` (B, T, I), or (B, T) of tokens; where an `.npz` holds them also the initial states `h0` and `c0` (L*D, B, H),
    and `lengths` (B,).

    An `.npz` holds x under that name, or as its only array. Raises FileError or InputsError.
    """
    try:
        if not path.is_file():
            raise FileError(path, "is no file of inputs", "wanted an .npy or .npz with shape (B, T, I)")
        with path.open("rb") as file:
            start = file.read(6)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "check the path and its permissions") from error
    if not start:
        raise FileError(path, "the file is empty", "wanted an .npy or .npz with shape (B, T, I)")
    h0: tuple[Array, ...] = ()
    c0: tuple[Array, ...] = ()
    lengths: Array | None = None
    if start[:2] == b"PK":
        arrays = open_npz(path)
        if "x" not in arrays and len(arrays) != 1:
            names = ", ".join(printable(name) for name in sorted(arrays)[:8]) or "no array"
            raise FileError(path, f"holds {names}", "name the input sequences x")
        x = arrays["x"] if "x" in arrays else next(iter(arrays.values()))
        h0, c0 = (
            tuple(_as_floats(path, name, state) for state in read_states(path, arrays, name, "", set()))
            for name in ("h0", "c0")
        )
        lengths = read_lengths(path, arrays, x) if "lengths" in arrays and x.ndim in (2, 3) else None
    elif start == b"\x93NUMPY":
        x = open_npy(path)
    else:
        raise FileError(path, "is neither .npy nor .npz", "write the inputs with numpy.save, shape (B, T, I)")
    if x.ndim == 2 and x.dtype.kind in "iu" and x.size:
        return np.asarray(x, np.int64), h0, c0, lengths
    if x.ndim != 3 or x.size == 0:
        raise InputsError(
            f"{printable(path)}: x has shape {x.shape}; wanted (B, T, I), or (B, T) of tokens, no axis empty"
        )
    return _as_floats(path, "x", x), h0, c0, lengths


def _as_floats(path: Path, name: str, array: Array) -> Array:
    if array.dtype.kind in "iu":
        array = array.astype(np.float32)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise InputsError(f"{printable(path)}: {name} has dtype {array.dtype}; wanted float32 or float64")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if not is_finite(array):
        raise InputsError(f"{printable(path)}: {name} holds NaN or infinity; wanted finite numbers")
    return array


def is_finite(array: Array) -> bool:
    """Whether `array` (B, ...) holds neither NaN nor infinity, looked at one sequence after another."""
    for sequence in array:
        if not np.isfinite(sequence).all():
            return False
        release(array)
    return True


def _check_states(path: Path | None, name: str, given: tuple[Array, ...], B: int, sizes: list[int]) -> None:
    found = [state.shape for state in given]
    wanted = [(B, size) for size in sizes]
    if found != wanted:
        raise InputsError(f"{printable(path)}: {name} has states of shape {found}, the baseline takes {wanted}")


class _Uniform:
    """Uniform float32 in [-1, 1), in steps of 2^-23; each call of `take` goes on in the stream of the seed."""

    def __init__(self, seed: int) -> None:
        self._seed, self._taken = seed, 0

    def take(self, shape: tuple[int, ...]) -> Array:
        count = math.prod(shape)
        stream = hashlib.shake_256(f"rnnverify {self._seed} {self._taken}".encode())
        self._taken += 1
        raw = np.frombuffer(stream.digest(4 * count), "<u4")
        return np.asarray((raw >> 8).astype(np.int64) * 2.0**-23 - 1, np.float32).reshape(shape)
