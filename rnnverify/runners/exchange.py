"""What all runners share: arrays in and out, and long inputs in blocks of time.

A runner offers a model as an object with

    run(x, states) -> (outputs, states)   x (b, t, I); states, a flat list: h (b, P) of every layer and direction, and
                                          behind that of an LSTM its c (b, H); outputs: y (b, t, F), and where there are
                                          several layers or directions, h of each at every step (b, t, P), in the order
                                          in which the layer emits them
    state_sizes                           [(P,) or (P, H), ...] per layer and direction
    run_padded(x, states, lengths)        as `run`, sequence k having lengths[k] steps, the rest of x being padding; a
                                          model that cannot be run so has no such method
    dense(y, kernel, bias, activation)    one dense layer over y (b, t, F): kernel (F, O), bias (O,) or None
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
SMALL = 2**20  # bytes up to which an array shares its file: one of its own takes longer to open than to read


def in_a_line(error: BaseException) -> str:
    """What a framework says of a file that it does not load: its first sentence, or what fits into a line."""
    said = (str(error).strip().splitlines() or [""])[0].split(". ")[0]
    if len(said) > 120:
        said = said[:120].rsplit(" ", 1)[0] + " ..."
    return type(error).__name__ + ": " + said


def load_array(reference: Any) -> Any:
    """The array at `reference`: the path of an .npy file, or [path, offset, dtype, shape] within a file of many."""
    if not isinstance(reference, list):
        return np.load(reference, mmap_mode="r", allow_pickle=False)
    path, offset, dtype, shape = reference
    with open(path, "rb") as file:
        file.seek(offset)
        data = file.read(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize)
    return np.frombuffer(data, dtype).reshape(shape)


class Pack:
    """The arrays of one job: small ones in one file, written at the end, large ones in one each."""

    def __init__(self, folder: str) -> None:
        self.folder, self.path = folder, os.path.join(folder, "small")
        self.parts = []  # type: Any
        self.size = 0

    def room(self, name: str, shape: Any, dtype: Any) -> Any:
        """An array to fill: in memory where it is small, else mapped from the file of its name."""
        if np.prod(shape) * dtype.itemsize <= SMALL:
            return np.zeros(shape, dtype)
        return create(self.file(name), shape, dtype)

    def add(self, name: str, array: Any) -> Any:
        """A reference to `array`, which may have been `room`."""
        if isinstance(array, np.memmap):
            array.flush()
            return self.file(name)
        if array.nbytes > SMALL:
            np.save(self.file(name), array)
            return self.file(name)
        offset, data = self.size, array.tobytes()
        self.parts.append(data)
        self.size += len(data)
        return [self.path, offset, array.dtype.str, list(array.shape)]

    def file(self, name: str) -> str:
        return os.path.join(self.folder, name + ".npy")

    def write(self) -> None:
        with open(self.path, "wb") as file:
            file.write(b"".join(self.parts))


def load_tensors(job: dict[str, Any]) -> Any:
    return {name: load_array(path) for name, path in job["tensors"].items()}


def run_batches(job: dict[str, Any], model: Any) -> Any:
    """Run every batch of `job`; returns {batch name: {"y", "states": [...], "h_n", "c_n": [...]}} of references."""
    pack = Pack(job["folder"])
    outputs = {batch["name"]: run_batch(job, batch, model, pack) for batch in job["batches"]}
    pack.write()
    return outputs


def run_batch(job: dict[str, Any], batch: dict[str, Any], model: Any, pack: Pack) -> Any:
    dtype = kept_as(job["dtype"])
    x = load_array(batch["x"])
    states = first_states(batch, model.state_sizes, x.shape[0], dtype)
    names = ["y"]
    widths = [job["output_size"]]
    if len(model.state_sizes) > 1:
        names += ["states_%d" % k for k in range(len(model.state_sizes))]
        widths += [sizes[0] for sizes in model.state_sizes]
    names = ["%s_%s" % (name, batch["name"]) for name in names]
    outputs = [pack.room(name, (x.shape[0], x.shape[1], width), dtype) for name, width in zip(names, widths)]
    if batch.get("lengths"):
        if not hasattr(model, "run_padded"):
            raise ValueError("sequences of different length are not run by this layer")
        values, states = model.run_padded(np.array(x, dtype), states, np.array(load_array(batch["lengths"])))
        fill(outputs, slice(None), values)
    elif not model.backward:
        states = in_blocks(model.run, x, states, outputs, dtype)
    elif x.shape[1] <= WHOLE:
        values, states = model.run(np.array(x, dtype), states)
        fill(outputs, slice(None), values)
    else:
        states = layer_by_layer(model, x, states, outputs, dtype, job["folder"])
    y, *shown = [pack.add(name, output) for name, output in zip(names, outputs)]
    finals: Any = {"h_n": [], "c_n": []}
    if job.get("head"):
        finals["model_out"] = pack.add("model_out_" + batch["name"], headed(job, model, outputs[0], dtype))
    left = list(states)
    for k, sizes in enumerate(model.state_sizes):
        for name, _ in zip(("h_n", "c_n"), sizes):
            finals[name].append(pack.add("%s_%d_%s" % (name, k, batch["name"]), np.asarray(left.pop(0))))
    return dict(finals, y=y, states=shown)


def headed(job: dict[str, Any], model: Any, y: Any, dtype: Any) -> Any:
    """The dense layers of the request over y (B, T, F), in blocks of time: (B, T, O)."""
    tensors = load_tensors(job)
    weights = []
    for spec in job["head"]:
        kernel, bias = tensors[spec["kernel"]], tensors.get(spec["bias"])
        weights.append((kernel.T if spec["transposed"] else kernel, bias, spec["activation"]))
    blocks = []
    for start in range(0, y.shape[1], BLOCK):
        values = np.array(y[:, start : start + BLOCK], dtype)
        for kernel, bias, activation in weights:
            cast = None if bias is None else np.array(bias, dtype)
            values = model.dense(values, np.array(kernel, dtype), cast, activation)
        blocks.append(values)
    return np.concatenate(blocks, axis=1)


def first_states(batch: dict[str, Any], state_sizes: Any, B: int, dtype: Any) -> Any:
    """The flat list of initial states: those of the request, zeros where it has none."""
    given = {"h0": list(batch["h0"] or ()), "c0": list(batch.get("c0") or ())}
    states = []
    for sizes in state_sizes:
        for name, size in zip(("h0", "c0"), sizes):
            arrays = given[name]
            states.append(np.array(load_array(arrays.pop(0)), dtype) if arrays else np.zeros((B, size), dtype))
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
