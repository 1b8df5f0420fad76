"""What all runners share: arrays in and out, and long inputs in blocks of time.

A runner offers a model as an object with

    run(x, states) -> (y, states)       x (b, t, I); states, a list of (b, H) per layer and direction
    backward                            True where some direction reads the input from its end
    layers                              [(merge, turned, [direction, ...])], a direction being a function
                                        (x, h) -> (y, h) that runs forward over (b, t, I) from h (b, H)

Networks that only run forward are run in blocks with the states carried over, so memory does not grow with T. With a
backward direction that cannot be; they run in one piece, and long ones layer by layer, each direction in blocks.
"""

import os

import numpy as np

BLOCK = 100  # steps; fits caches, and is above the 64 from which blocks were seen to change no bit
WHOLE = 1000  # steps that a network with a backward direction runs in one piece


def load_array(path):
    return np.load(path, mmap_mode="r", allow_pickle=False)


def load_tensors(job):
    return {name: load_array(path) for name, path in job["tensors"].items()}


def run_batches(job, model, state_sizes):
    """Run every batch of `job`; returns {batch name: {"y": file, "h_n": [files]}}."""
    outputs = {}
    for batch in job["batches"]:
        x = load_array(batch["x"])
        dtype = np.dtype(job["dtype"])
        if batch["h0"] is None:
            states = [np.zeros((x.shape[0], size), dtype) for size in state_sizes]
        else:
            states = [np.array(load_array(path), dtype) for path in batch["h0"]]
        y_path = os.path.join(job["folder"], "y_%s.npy" % batch["name"])
        y = create(y_path, (x.shape[0], x.shape[1], job["output_size"]), dtype)
        if not model.backward:
            states = in_blocks(model.run, x, states, y, dtype)
        elif x.shape[1] <= WHOLE:
            y[:], states = model.run(np.array(x, dtype), states)
        else:
            states = layer_by_layer(model, x, states, y, dtype, job["folder"])
        y.flush()
        finals = []
        for k, state in enumerate(states):
            finals.append(os.path.join(job["folder"], "h_%s_%d.npy" % (batch["name"], k)))
            np.save(finals[-1], np.asarray(state))
        outputs[batch["name"]] = {"y": y_path, "h_n": finals}
    return outputs


def create(path, shape, dtype):
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=tuple(shape))


def in_blocks(run, x, states, y, dtype):
    """Fill y from x through `run`, both (B, T, ...) in processing order; returns the last states."""
    T = x.shape[1]
    length = T if T <= 2 * BLOCK else BLOCK
    for start in range(0, T, length):
        block = np.array(x[:, start : start + length], dtype)
        y[:, start : start + length], states = run(block, states)
    return states


def layer_by_layer(model, x, states, y, dtype, folder):
    """A long run of a network with backward directions; what lies between two layers is kept on disk."""
    finals = []
    states = iter(states)
    for k, (merge, turned, directions) in enumerate(model.layers):
        parts = []
        for d, (reverse, run) in enumerate(directions):
            h = next(states)
            shape = (x.shape[0], x.shape[1], h.shape[1])
            part = create(os.path.join(folder, "between_%d_%d.npy" % (k, d)), shape, dtype)
            seen = x[:, ::-1] if reverse else x
            written = part[:, ::-1] if reverse and turned else part

            def step(block, carried, run=run):
                out, last = run(block, carried[0])
                return out, [last]

            finals += in_blocks(step, seen, [h], written, dtype)
            parts.append(part)
        top = k == len(model.layers) - 1
        x = merged(merge, parts, y if top else None, os.path.join(folder, "merged_%d.npy" % k), dtype)
    return finals


def merged(merge, parts, into, path, dtype):
    H = parts[0].shape[2]
    width = sum(part.shape[2] for part in parts) if merge == "concat" else H
    out = create(path, (*parts[0].shape[:2], width), dtype) if into is None else into
    for start in range(0, out.shape[1], BLOCK):
        steps = slice(start, start + BLOCK)
        blocks = [part[:, steps] for part in parts]
        if len(blocks) == 1:
            out[:, steps] = blocks[0]
        elif merge == "concat":
            out[:, steps] = np.concatenate(blocks, axis=2)
        elif merge == "mul":
            out[:, steps] = blocks[0] * blocks[1]
        else:
            total = blocks[0] + blocks[1]
            out[:, steps] = total * np.asarray(0.5, dtype) if merge == "ave" else total
    return out
