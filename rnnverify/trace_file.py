"""The `.npz` form of a trace.

A trace file stands wherever a model file stands, so the form is one that any runtime can write with `numpy.savez`:

    x            (B, T, I)       the input sequences, batch first; or (B, T), whole numbers: rows of an embedding
    y            (B, T, F)       the outputs of every step, in the order in which the network emits them
    h_n          (L*D, B, H)     optional: final states, layer 0 forward, layer 0 reverse, layer 1 forward, ...;
                                 `h_n_0`, `h_n_1`, ... instead where layers differ in width
    model_out    (B, T, O)       optional: what the dense layers behind the recurrent part make of every step; (B, O)
                                 of the last alone, as of models that return no sequences
    c_n                          optional: the final cell states of LSTM layers likewise, and of no other layers
    states_0 ... (B, T, H)       optional: of networks of several layers or directions the states of each, every step
    h0, y_from_h0, ...           optional: the same from an initial state h0, and c0 for LSTM layers; on `x_from_h0`
                                 where that differs from x
    x_probe, h0_probe, ...       optional: single steps of many sequences (see `probes.py`), likewise
    lengths, y_with_lengths, ... optional: the same where sequence k has lengths[k] steps and is padded, on
                                 `x_with_lengths` where that differs from x; what y holds beyond does not count
    provenance                   optional: one JSON string, who made it and how

Without `h0`, y starts from zeros. Nothing in the file is ever unpickled.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.arrays import DAMAGED, open_npz
from rnnverify.canonical import Array
from rnnverify.errors import FileError, printable
from rnnverify.output import write_whole
from rnnverify.trace import FROM_H0, LENGTHS, PROBE, ZERO, Batch, Run, Trace

_SUFFIX = {ZERO: "", FROM_H0: "_from_h0", PROBE: "_probe", LENGTHS: "_with_lengths"}
_H0 = {FROM_H0: "", PROBE: "_probe"}  # suffix of the initial states


def save(trace: Trace, path: Path) -> None:
    """Write `trace` as an uncompressed `.npz`, all or nothing: a file half-written is never left behind.

    Raises OutputError where `path` cannot be written, ValueError where `trace` has no run from zero states.
    """
    if ZERO not in trace.runs:
        raise ValueError("a trace file has a run from zero states")
    arrays: dict[str, Array] = {"provenance": np.array(json.dumps(dict(trace.provenance)))}
    for name, run in trace.runs.items():
        suffix = _SUFFIX[name]
        if name == ZERO or not np.array_equal(run.batch.x, trace.runs[ZERO].batch.x):
            arrays["x" + suffix] = run.batch.x
        arrays["y" + suffix] = run.y
        if run.model_out is not None:
            arrays["model_out" + suffix] = run.model_out
        arrays.update(_numbered("h_n", run.h_n, suffix))
        arrays.update(_numbered("c_n", run.c_n, suffix))
        arrays.update({f"states_{k}{suffix}": states for k, states in enumerate(run.states)})
        if run.batch.lengths is not None:
            arrays["lengths"] = run.batch.lengths
        for key, states in (("h0", run.batch.h0), ("c0", run.batch.c0)):
            arrays.update(_numbered(key, states or (), _H0.get(name, "")))
    # the stubs of savez take every name for a keyword of its own
    write_whole(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def _numbered(name: str, states: tuple[Array, ...], suffix: str) -> dict[str, Array]:
    if not states:
        return {}
    if len({state.shape for state in states}) == 1:
        return {name + suffix: np.stack(states)}
    return {f"{name}_{k}{suffix}": state for k, state in enumerate(states)}


def is_trace(path: Path) -> bool:
    """Whether `path` is an `.npz` that holds inputs and outputs, and so no model file."""
    try:
        if not path.is_file():  # a device or a pipe would be read without end
            return False
        with zipfile.ZipFile(path) as archive:
            return {"x.npy", "y.npy"} <= set(archive.namelist())
    except (OSError, *DAMAGED):
        return False


def load(path: Path) -> Trace:
    """Read a trace file; arrays stored uncompressed are mapped, not read.

    Raises FileError where arrays are missing, do not fit each other, or are no floats.
    """
    arrays = open_npz(path)
    for key in ("x", "y"):
        if key not in arrays:
            raise FileError(path, f"has no array {key!r}", "a trace needs x (B, T, I) and y (B, T, F)")
    provenance = _provenance(path, arrays)
    used = {"x", "y", "provenance"}
    runs: dict[str, Run] = {}
    for name, suffix in _SUFFIX.items():
        if "y" + suffix not in arrays:
            continue
        h0 = read_states(path, arrays, "h0", _H0[name], used) if name in _H0 else None
        if name in _H0 and not h0:
            raise FileError(
                path,
                f"has y{suffix}, but no h0{_H0[name]}",
                "store the initial states as h0 (layers * directions, B, H)",
            )
        x_key = "x" + suffix if "x" + suffix in arrays else "x"
        used |= {x_key, "y" + suffix}
        c0 = read_states(path, arrays, "c0", _H0[name], used) if name in _H0 else ()
        h_n, c_n = (read_states(path, arrays, key, suffix, used) for key in ("h_n", "c_n"))
        shown = _numbered_states(arrays, suffix, used)
        lengths = read_lengths(path, arrays, arrays[x_key]) if name == LENGTHS else None
        used |= {"lengths"} if name == LENGTHS else set()
        model_out = _model_out(arrays, suffix, used)
        batch = Batch(name, arrays[x_key], h0, c0 or None, lengths)
        run = Run(batch, arrays["y" + suffix], h_n, shown, c_n, model_out)
        check_run(path, run, suffix)
        runs[name] = run
    return Trace(runs, provenance, tuple(printable(key) for key in arrays if key not in used))


def _model_out(arrays: Mapping[str, Array], suffix: str, used: set[str]) -> Array | None:
    """Those of every step, or (B, 1, O) of the last alone; what is neither is left as not compared."""
    found, y = arrays.get("model_out" + suffix), arrays["y" + suffix]
    if found is None or found.ndim not in (2, 3) or found.size == 0 or not _is_float(found):
        return None
    made = found[:, None] if found.ndim == 2 else found
    if made.shape[0] != y.shape[0] or made.shape[1] not in (1, y.shape[1]):
        return None
    used.add("model_out" + suffix)
    return made


def read_lengths(path: Path, arrays: Mapping[str, Array], x: Array) -> Array:
    """How many steps each sequence of x (B, T, I) has, (B,). Raises FileError where they are none, or do not fit."""
    lengths = arrays.get("lengths", np.zeros(0, np.int64))
    fits = lengths.dtype.kind in "iu" and lengths.shape == x.shape[:1]
    if not fits or lengths.min() < 1 or lengths.max() > x.shape[1]:
        found = f"has lengths of shape {lengths.shape} and dtype {lengths.dtype}"
        raise FileError(path, found, f"wanted whole numbers from 1 to {x.shape[1]}, one for each of {len(x)} sequences")
    return np.asarray(lengths, np.int64)


def _numbered_states(arrays: Mapping[str, Array], suffix: str, used: set[str]) -> tuple[Array, ...]:
    found: list[Array] = []
    while (key := f"states_{len(found)}{suffix}") in arrays:
        used.add(key)
        found.append(arrays[key])
    return tuple(found)


def read_states(path: Path, arrays: Mapping[str, Array], name: str, suffix: str, used: set[str]) -> tuple[Array, ...]:
    """(L*D, B, H), or numbered arrays of (B, H), as a tuple of (B, H); the keys that were read are added to `used`.

    Raises FileError where the stacked form has another number of axes.
    """
    if name + suffix in arrays:
        used.add(name + suffix)
        stacked = arrays[name + suffix]
        if stacked.ndim != 3:
            raise FileError(path, f"{name}{suffix} has shape {stacked.shape}", "wanted (layers * directions, B, H)")
        return tuple(stacked)
    states: list[Array] = []
    while (key := f"{name}_{len(states)}{suffix}") in arrays:
        used.add(key)
        states.append(arrays[key])
    return tuple(states)


def check_run(path: Path, run: Run, suffix: str) -> None:
    x, y = run.batch.x, run.y
    for key, array in (("x", x), ("y", y)):
        if key == "x" and array.ndim == 2 and array.dtype.kind in "iu" and array.size:
            continue  # tokens
        if array.ndim != 3 or array.size == 0 or not _is_float(array):
            found = f"{key}{suffix} has shape {array.shape} and dtype {array.dtype}"
            raise FileError(path, found, "wanted floats of shape (B, T, features), no axis empty")
    if x.shape[:2] != y.shape[:2]:
        found = f"x{suffix} has {x.shape[0]} sequences of {x.shape[1]} steps, y{suffix} {y.shape[0]} of {y.shape[1]}"
        raise FileError(path, found, "record the outputs of every step for every sequence")
    given = (("h0", run.batch.h0 or ()), ("c0", run.batch.c0 or ()))
    for key, states in (*given, ("h_n" + suffix, run.h_n), ("c_n" + suffix, run.c_n)):
        for k, state in enumerate(states):
            if state.ndim != 2 or state.shape[0] != x.shape[0] or state.size == 0 or not _is_float(state):
                raise FileError(path, f"{key}[{k}] has shape {state.shape}", f"wanted ({x.shape[0]}, H) floats")
    for k, shown in enumerate(run.states):
        if shown.ndim != 3 or shown.shape[:2] != y.shape[:2] or shown.size == 0 or not _is_float(shown):
            found = f"states_{k}{suffix} has shape {shown.shape}"
            raise FileError(path, found, f"wanted ({y.shape[0]}, {y.shape[1]}, H) floats")


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f" and array.dtype.itemsize <= 8


def _provenance(path: Path, arrays: Mapping[str, Array]) -> Mapping[str, Any]:
    text = arrays.get("provenance")
    if text is None:
        return {}
    try:
        value = json.loads(str(text[()]))
    except (ValueError, RecursionError, SystemError) as error:  # the last for letters beyond those of Unicode
        raise FileError(path, "its provenance is no JSON", "write it with json.dumps, or leave it out") from error
    return value if isinstance(value, dict) else {}
