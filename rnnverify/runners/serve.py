"""Run and write model files in one framework: python serve.py RUNTIME MEMORY_BYTES [REQUEST.json]

RUNTIME is `torch`, `jax`, `onnx`, or `tensorflow` (which serves Keras files and TensorFlow cells in one import). The
request is a JSON file; without it its path is read from standard input, after the framework has been imported, so that
the import runs while the caller still reads weights. For each job a folder is filled with arrays and, last,
`result.json`.

Request: {"jobs": [{"folder", "framework", "path", "layers", "activations", "tensors", "loadable", "trusted",
"why_not", "dtype", "threads", "input_size", "output_size", "gates": [{"cell", "gate_activation", "output_activation",
"reset_after", "cell_clip", "forget_bias": one a direction}], "head": [{"kernel", "bias", "transposed", "activation"}],
"batches": [{"name", "x", "h0", "c0", "lengths"}]}]}; `tensors` maps names to arrays; x is an array of shape (B, T, I),
h0 are of (B, P) for each layer and direction, c0 of (B, H) for each of an LSTM, lengths of (B,). An array is the path
of an .npy file, or [path, offset, dtype, shape] of its bytes within a file of many.

A request with "write": {"path", "form"} in place of "batches" has a file written: what its "layers" are then, the
writer says (`write_<framework>.py`).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from typing import Any

from environment import environment, versions

START = time.time()
FRAMEWORKS = {"torch": ["torch"], "tensorflow": ["tensorflow"], "jax": ["jax"], "onnx": ["onnx", "onnxruntime"]}
RUNNERS = {
    "keras": "run_keras",
    "torch": "run_torch",
    "tensorflow": "run_tensorflow",
    "flax": "run_jax",
    "equinox": "run_jax",
    "onnx": "run_onnx",
}
WRITERS = {
    "keras": "write_keras",
    "torch": "write_torch",
    "tensorflow": "write_tensorflow",
    "flax": "write_flax",
    "equinox": "write_equinox",
    "onnx": "write_onnx",
}


def main(argv: list[str]) -> None:
    # the import allocates a million objects that all stay: collecting them while they come costs a third of it
    gc.disable()
    runtime, memory = argv[0], int(argv[1])
    end_with_caller()
    limit_memory(memory)
    missing = ""
    try:
        for name in FRAMEWORKS[runtime]:
            importlib.import_module(name)
    except ImportError as error:
        missing = str(error)
    gc.freeze()
    gc.enable()  # models of many files come and go
    imported = time.time()
    path = argv[2] if len(argv) > 2 else sys.stdin.readline().strip()
    if not path:
        return  # the caller gave up
    with open(path) as file:
        jobs = json.load(file)["jobs"]
    for job in jobs:
        if not missing:
            open(os.path.join(job["folder"], "begun"), "w").close()  # where this process dies: of this job
        result = {"status": "missing", "message": missing} if missing else attempt(job)
        result["import_seconds"] = imported - START
        write_result(job["folder"], result)


def end_with_caller() -> None:
    """Ask Linux to end this process with the one that started it, however that ends."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (ImportError, OSError, AttributeError, TypeError):
        return  # elsewhere the time limit of the caller has to do


def limit_memory(limit: int) -> None:
    """Allow `limit` bytes of address space; 0: as much data as the machine has memory."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    if limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    else:  # what the machine has: beyond it everything else would suffer before this process fails
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_DATA, (physical, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def attempt(job: dict[str, Any]) -> Any:
    began, used = time.time(), time.process_time()
    try:
        if "write" in job:
            result = importlib.import_module(WRITERS[job["framework"]]).write(job)
        else:
            result = importlib.import_module(RUNNERS[job["framework"]]).run(job)
        result["status"] = "ok"
    except ImportError as error:
        result = {"status": "missing", "message": str(error)}
    except MemoryError:
        result = {"status": "memory", "message": "ran out of memory"}
    except Exception as error:  # whatever a framework throws is this side's error, never a crash of the comparison
        message = type(error).__name__ + ": " + (str(error).strip().splitlines() or [""])[0]
        result = {"status": "error", "message": message, "traceback": traceback.format_exc()}
    result.setdefault("versions", {}).update(versions())
    result["environment"] = environment(job)
    result["seconds"] = time.time() - began
    result["cpu_seconds"] = time.process_time() - used
    return result


def write_result(folder: str, result: Any) -> None:
    partial = os.path.join(folder, "result.partial")
    with open(partial, "w") as file:
        file.write(json.dumps(result))  # a third of the time that json.dump takes
    os.replace(partial, os.path.join(folder, "result.json"))


if __name__ == "__main__":
    main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # tearing a framework down takes up to half a second, and nothing is left to do
