"""What all runners share: arrays in and out, and long inputs in blocks of time.

A runner offers a model as an object with

    run(x, states) -> (outputs, states)   x (b, t, I); states, a flat list: h (b, P) of every layer and direction, and
                                          behind that of an LSTM its c (b, H); outputs: y (b, t, F), and where there are
                                          several layers or directions, h of each at every step (b, t, P), in the order
                                          in which the layer emits them
    state_sizes                           [(P,) or (P, H), ...] per layer and direction
    backward                              True where some direction reads the input from its end
    layers                                [(merge, turned, [(reverse, direction), ...])], a direction being a function
                                          (x, states) -> (y, states) that runs forward over (b, t, I) from its states

Networks that only run forward are run in blocks with the states carried over, so memory does not grow with T. With a
backward direction that cannot be; they run in one piece, and long ones layer by layer, each direction in blocks.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np

BLOCK = 100  # steps; fits caches, and is above the 64 from which blocks were seen to change no bit
WHOLE = 1000  # steps that a network with a backward direction runs in one piece


def load_array(path: str) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def load_tensors(job: dict[str, Any]) -> Any:
    return {name: load_array(path) for name, path in job["tensors"].items()}


def run_batches(job: dict[str, Any], model: Any) -> Any:
    """Run every batch of `job`; returns {batch name: {"y": file, "states", "h_n", "c_n": [files]}}."""
    return {batch["name"]: run_batch(job, batch, model) for batch in job["batches"]}


def run_batch(job: dict[str, Any], batch: dict[str, Any], model: Any) -> Any:
    dtype = kept_as(job["dtype"])
    x = load_array(batch["x"])
    states = first_states(batch, model.state_sizes, x.shape[0], dtype)
    names = ["y"]
    widths = [job["output_size"]]
    if len(model.state_sizes) > 1:
        names += ["states_%d" % k for k in range(len(model.state_sizes))]
        widths += [sizes[0] for sizes in model.state_sizes]
    paths = [os.path.join(job["folder"], "%s_%s.npy" % (name, batch["name"])) for name in names]
    outputs = [create(path, (x.shape[0], x.shape[1], width), dtype) for path, width in zip(paths, widths)]
    if not model.backward:
        states = in_blocks(model.run, x, states, outputs, dtype)
    elif x.shape[1] <= WHOLE:
        values, states = model.run(np.array(x, dtype), states)
        fill(outputs, slice(None), values)
    else:
        states = layer_by_layer(model, x, states, outputs, dtype, job["folder"])
    for output in outputs:
        output.flush()
    finals: Any = {"h_n": [], "c_n": []}
    left = list(states)
    for k, sizes in enumerate(model.state_sizes):
        for name, _ in zip(("h_n", "c_n"), sizes):
            finals[name].append(os.path.join(job["folder"], "%s_%d_%s.npy" % (name, k, batch["name"])))
            np.save(finals[name][-1], np.asarray(left.pop(0)))
    return dict(finals, y=paths[0], states=paths[1:])


def first_states(batch: dict[str, Any], state_sizes: Any, B: int, dtype: Any) -> Any:
    """The flat list of initial states: those of the request, zeros where it has none."""
    given = {"h0": list(batch["h0"] or ()), "c0": list(batch.get("c0") or ())}
    states = []
    for sizes in state_sizes:
        for name, size in zip(("h0", "c0"), sizes):
            paths = given[name]
            states.append(np.array(load_array(paths.pop(0)), dtype) if paths else np.zeros((B, size), dtype))
    return states


def kept_as(dtype: str) -> Any:
    """The NumPy dtype for arrays on disk: it lacks bfloat16, whose values float32 holds."""
    return np.dtype("float32" if dtype == "bfloat16" else dtype)


def create(path: str, shape: Any, dtype: Any) -> Any:
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=tuple(shape))


def fill(outputs: Any, steps: Any, values: Any) -> None:
    if len(outputs) != len(values):
        raise ValueError("a model gave %d outputs, wanted %d" % (len(values), len(outputs)))
    for output, value in zip(outputs, values):
        output[:, steps] = value


def in_blocks(run: Any, x: Any, states: Any, outputs: Any, dtype: Any) -> Any:
    """Fill outputs from x through `run`, all (B, T, ...) in processing order; returns the last states."""
    T = x.shape[1]
    length = T if T <= 2 * BLOCK else BLOCK
    for start in range(0, T, length):
        steps = slice(start, start + length)
        values, states = run(np.array(x[:, steps], dtype), states)
        fill(outputs, steps, values)
        for array in (x, *outputs):
            release(array)
    return states


def release(array: Any) -> None:
    """Let go of the pages of a mapped file: written ones stay in the file, and memory does not grow with T."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    mapped: Any = getattr(array, "_mmap", None)
    if hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)


def layer_by_layer(model: Any, x: Any, states: Any, outputs: Any, dtype: Any, folder: str) -> Any:
    """A long run of a network with backward directions; what lies between two layers is kept on disk."""
    layers = model.layers
    y, shown = outputs[0], list(outputs[1:]) or [outputs[0]]
    counts = [len(sizes) for sizes in model.state_sizes]
    states, finals = list(states), []
    for k, (merge, turned, directions) in enumerate(layers):
        parts = [shown.pop(0) for _ in directions]
        for part, (reverse, run) in zip(parts, directions):

            def step(block: Any, carried: Any, run: Any = run) -> Any:
                out, last = run(block, carried)
                return [out], last

            seen = x[:, ::-1] if reverse else x
            written = part[:, ::-1] if reverse and turned else part
            count = counts.pop(0)
            finals += in_blocks(step, seen, states[:count], [written], dtype)
            del states[:count]
        if k < len(layers) - 1:
            width = sum(part.shape[2] for part in parts) if merge == "concat" else parts[0].shape[2]
            path = os.path.join(folder, "merged_%d.npy" % k)
            x = merge_into(create(path, (*x.shape[:2], width), dtype), merge, parts)
        elif parts[0] is not y:
            merge_into(y, merge, parts)
        if k > 0:
            os.remove(os.path.join(folder, "merged_%d.npy" % (k - 1)))  # read for the last time
    return finals


def merge_into(out: Any, merge: str, parts: Any) -> Any:
    """Forward and reverse outputs (B, T, H) as one, the way Keras Bidirectional names it."""
    for start in range(0, out.shape[1], BLOCK):
        steps = slice(start, start + BLOCK)
        blocks = [part[:, steps] for part in parts]
        if merge == "concat":
            out[:, steps] = np.concatenate(blocks, axis=2)
        elif merge == "mul":
            out[:, steps] = blocks[0] * blocks[1]
        else:
            total = blocks[0] + blocks[1]
            out[:, steps] = total * np.asarray(0.5, out.dtype) if merge == "ave" else total
        for array in (out, *parts):
            release(array)
    return out
