"""One worker: python fuzz_worker.py HARNESS SEED FIRST COUNT FOLDER

Writes sample after sample under FOLDER, hands each to the tool, and says on standard output `making K` and `sample K`
before it does, and `finding K: words` where something else than a reading or one sentence came of it. Whoever started
it watches for the rest: a crash, or a sample that does not end.
"""

from __future__ import annotations

import resource
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import fuzz_arrays
import fuzz_checkpoints
import fuzz_graphs
import fuzz_jax
import fuzz_keras
import fuzz_onnx
import fuzz_pickles
from fuzz_values import FIXTURES, Sample

from rnnverify.errors import OptionError, RnnverifyError
from rnnverify.inputs import read_inputs
from rnnverify.inspection import inspect
from rnnverify.reports import terminal

HARNESSES: Mapping[str, Callable[[Random], Sample]] = {
    "hdf5": fuzz_keras.hdf5,
    "hdf5_bytes": fuzz_keras.hdf5_bytes,
    "keras_zip": fuzz_keras.keras_zip,
    "torch_zip": fuzz_pickles.torch_zip,
    "torch_legacy": fuzz_pickles.torch_legacy,
    "safetensors": fuzz_arrays.safetensors,
    "checkpoint_v2": fuzz_checkpoints.checkpoint_v2,
    "checkpoint_v1": fuzz_checkpoints.checkpoint_v1,
    "frozen": fuzz_graphs.frozen,
    "meta": fuzz_graphs.meta,
    "saved_model": fuzz_graphs.saved_model,
    "objects": fuzz_graphs.objects,
    "shards": fuzz_graphs.shards,
    "architecture": fuzz_graphs.architecture,
    "torch_tar": fuzz_graphs.torch_tar,
    "onnx": fuzz_onnx.onnx,
    "onnx_graphs": fuzz_onnx.onnx_graphs,
    "onnx_data": fuzz_onnx.onnx_data,
    "flax_msgpack": fuzz_jax.flax_msgpack,
    "orbax": fuzz_jax.orbax,
    "equinox": fuzz_jax.equinox,
    "trace": fuzz_arrays.trace,
    "npy": fuzz_arrays.npy,
}
MEMORY = 500 * 2**20  # bytes resident
_ROOM = 4 * 2**30  # bytes of addresses: what would take more is stopped before the machine suffers
_FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pickle.find_class", "socket.connect",
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod", "shutil.rmtree",
)  # fmt: skip
_done: list[str] = []  # what the tool did that reading a file never needs


def main(arguments: list[str]) -> None:
    name, seed, first, count, folder = (
        arguments[0],
        arguments[1],
        int(arguments[2]),
        int(arguments[3]),
        Path(arguments[4]),
    )
    resource.setrlimit(resource.RLIMIT_AS, (_ROOM, _ROOM))
    watching = False

    def watch(event: str, details: tuple[object, ...]) -> None:
        if not watching:
            return
        if event in _FORBIDDEN or (event == "open" and _writes(details)):
            _done.append(f"{event} {details[0] if details else ''}")

    sys.addaudithook(watch)
    for warm in (FIXTURES / "simple_rnn.h5", FIXTURES / "rnn.pt"):  # what libraries do once, when they are imported
        _inspect(warm)
    for k in range(first, first + count):
        print(f"making {k}", flush=True)
        sample = make(name, seed, k)
        path = write(sample, folder)
        print(f"sample {k}", flush=True)
        watching = True
        found = problem(path)
        watching = False
        found = found or strays(sample, folder)
        if found:
            print(f"finding {k}: {found}", flush=True)
        if "MiB" in found:
            return  # the peak stays: a fresh process goes on


def make(name: str, seed: str, k: int) -> Sample:
    """Sample number `k`: the same for the same seed, whatever came before it."""
    return HARNESSES[name](Random(f"{name} {seed} {k}"))


def write(sample: Sample, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in sample.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder / sample.main


def problem(path: Path) -> str:
    """What is wrong with how the tool takes the file at `path`; empty where it reads it, or refuses it well."""
    found = _escaped(_inspect, path)
    if path.suffix in (".npz", ".npy"):
        found = found or _escaped(read_inputs, path)
    if found:
        return found
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"took {peak // 2**20} MiB" if peak > MEMORY else ""


def _escaped(read: Callable[[Path], object], path: Path) -> str:
    try:
        read(path)
    except RnnverifyError as error:
        return "" if str(error).isprintable() else f"not one printable sentence: {str(error)!r}"
    except Exception as error:  # whatever escapes is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} escaped at {Path(place.filename).name}:{place.lineno}: {error!r:.300}"
    return ""


def _inspect(path: Path) -> None:
    try:
        shown = terminal.render_inspection(inspect(path))
    except OptionError:  # a trace: it was loaded, and is no model
        return
    if "\x1b" in shown or "\0" in shown:
        raise AssertionError("a control character of the file reaches the terminal")


def strays(sample: Sample, folder: Path) -> str:
    """What was done beside reading: forbidden calls, files changed or made."""
    found = [f"did {what}" for what in _done]
    _done.clear()
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    left = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    if left != sample.files:
        found.append("files were changed")
    return "; ".join(found)


def _writes(details: tuple[object, ...]) -> bool:
    """Whether the arguments of an `open` event (path, mode, flags) ask for more than reading."""
    mode = details[1] if len(details) > 1 else None
    flags = details[2] if len(details) > 2 else 0
    return any(letter in str(mode or "") for letter in "wax+") or bool(isinstance(flags, int) and flags & 3)


if __name__ == "__main__":
    main(sys.argv[1:])
