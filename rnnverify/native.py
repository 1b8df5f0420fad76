"""Files run by their own frameworks, each runtime in its own process (`runners/serve.py`).

TensorFlow and PyTorch are never imported together: each has its own environment, threads, time and memory limit, and
its crash is one side's error. Keras files and TensorFlow cells share one TensorFlow, whose import costs the most.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from rnnverify.adapters.layout import Layout
from rnnverify.adapters.reading import Reading
from rnnverify.canonical import GATES, Array, Direction, Layer
from rnnverify.containers.contents import FrameworkName
from rnnverify.errors import OptionError, RunnerError, printable
from rnnverify.packed import Pack, Reference, Unpack
from rnnverify.trace import Batch, Run, Trace

RUNTIMES: dict[FrameworkName, str] = {
    "keras": "tensorflow",
    "torch": "torch",
    "tensorflow": "tensorflow",
    "flax": "jax",
    "equinox": "jax",
    "onnx": "onnx",
}
_EXTRAS = {name: name for name in RUNTIMES}
_PACKAGES = {"onnx": "onnx onnxruntime"}
"""What a runtime is installed as, where not by its own name."""
_SERVE = Path(__file__).parent / "runners" / "serve.py"
_SMALL = 1e8  # floating-point operations below which a second thread costs more than it gives


@dataclass(frozen=True)
class Limits:
    """What the runner process of one framework may use for all of its files together.

    `memory` is address space in bytes, 0 for what the machine has.
    """

    seconds: float = 600.0
    memory: int = 0

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise OptionError(f"--timeout {self.seconds:g}: wanted a number of seconds above 0")
        if not 0 <= self.memory < 2**62:
            raise OptionError("--memory: wanted a number of GiB from 0 up, 0 meaning no limit")


@dataclass(frozen=True)
class Job:
    """One file to run: what was read from it, and on which inputs."""

    label: str
    source: str  # for messages
    path: Path
    reading: Reading
    batches: tuple[Batch, ...]
    dtype: str | None = None  # to compute in; None: what the weights are stored in
    trusted: bool = False  # its framework may run code that the file brings
    python: str = sys.executable  # the interpreter to run it in
    head: bool = False  # whether the dense layers behind are run, too

    @property
    def runtime(self) -> tuple[str, str]:
        """Which process serves it: an interpreter, and a framework inside."""
        return self.python, RUNTIMES[self.reading.recipe.framework]


@dataclass(frozen=True)
class Order:
    """One file to write: a network as its framework lays it out, and where it goes."""

    source: str  # for messages
    layout: Layout
    input_size: int
    path: Path
    form: str  # which of the framework's own forms

    @property
    def runtime(self) -> tuple[str, str]:
        """As that of a job: files are written by this interpreter."""
        return sys.executable, RUNTIMES[self.layout.framework]


class MissingFrameworkError(RunnerError):
    """The framework that a side needs is not installed."""

    kind = "missing framework"


class Runners:
    """The runner processes of one comparison, or of many: those of equal files on equal inputs share one run.

    Start them first: they import while the files are still being read.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._folder = tempfile.TemporaryDirectory(prefix="rnnverify-", ignore_cleanup_errors=True)
        self._made = 0  # folders
        self._processes: dict[tuple[str, str], _Process] = {}
        self._folders: dict[str, Path] = {}  # by what is run
        self._arrays = Pack(self.folder)

    def __enter__(self) -> Runners:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.stop()
        self._arrays.close()
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)

    def abandon(self) -> None:
        """Stop every process, also from another thread: who waits for one gets a RunnerError."""
        for process in list(self._processes.values()):
            process.abandon()

    def start(self, framework: FrameworkName, python: str = sys.executable) -> None:
        """Start the process for `framework`, unless it runs already."""
        self._start((python, RUNTIMES[framework]))

    def _start(self, runtime: tuple[str, str]) -> None:
        if runtime not in self._processes:
            self._processes[runtime] = _Process(*runtime, self._new_folder(), self._limits)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Hand every job to the process of its framework; once, as a process takes one request."""
        requests: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for job in jobs:
            self._start(job.runtime)
            key = _what(job)
            if key not in self._folders:
                self._folders[key] = self._new_folder()
                requests.setdefault(job.runtime, []).append(self._request(job, self._folders[key]))
        self._arrays.flush()
        for runtime, request in requests.items():
            self._processes[runtime].send(request)

    def _new_folder(self) -> Path:
        self._made += 1
        folder = self.folder / str(self._made)
        folder.mkdir(mode=0o700)
        return folder

    def collect(self, job: Job) -> tuple[Trace, Mapping[str, Any]]:
        """Wait for `job`; its trace, mapped from disk where it is large, and what the runner says about it.

        Raises MissingFrameworkError, or RunnerError where it crashed, hung or failed: one sentence that names the side.
        """
        result = self._result(job.runtime, self._folders[_what(job)], job.source, job.reading.recipe.framework)
        runs = {}
        files = Unpack()
        for batch in job.batches:
            output = result["outputs"][batch.name]
            h_n, states, c_n = (tuple(map(files.load, output[name])) for name in ("h_n", "states", "c_n"))
            model_out = files.load(output["model_out"]) if job.head else None
            runs[batch.name] = Run(batch, files.load(output["y"]), h_n, states, c_n, model_out)
        return Trace(runs, {"engine": "native", "dtype": computing_dtype(job), **result}), result

    def write(self, *orders: Order) -> list[Mapping[str, Any]]:
        """Let the frameworks of `orders` write their files; what each writer says. Raises as `collect` does."""
        requests: dict[tuple[str, str], list[dict[str, Any]]] = {}
        folders = [self._new_folder() for _ in orders]
        for order, folder in zip(orders, folders, strict=True):
            self._start(order.runtime)
            requests.setdefault(order.runtime, []).append(self._request_to_write(order, folder))
        self._arrays.flush()
        for runtime, request in requests.items():
            self._processes[runtime].send(request)
        return [
            self._result(order.runtime, folder, order.source, order.layout.framework)
            for order, folder in zip(orders, folders, strict=True)
        ]

    def _request_to_write(self, order: Order, folder: Path) -> dict[str, Any]:
        return {
            "folder": str(folder),
            "framework": order.layout.framework,
            "layers": [dict(layer) for layer in order.layout.layers],
            "tensors": {name: self._save(array) for name, array in order.layout.tensors.items()},
            "input_size": order.input_size,
            "threads": 1,
            "write": {"path": str(order.path), "form": order.form},
        }

    def _result(self, runtime: tuple[str, str], folder: Path, source: str, framework: FrameworkName) -> dict[str, Any]:
        result = self._processes[runtime].result(folder, source)
        if result["status"] == "missing":
            advice = f"install it with: pip install 'rnnverify[{_EXTRAS[framework]}]'"
            if runtime[0] != sys.executable:
                advice = (
                    f"install it with: {printable(runtime[0])} -m pip install {_PACKAGES.get(runtime[1], runtime[1])}"
                )
            raise MissingFrameworkError(f"{source}: {printable(result['message'])}; {advice}")
        if result["status"] != "ok":
            where = "the traceback is shown with --debug"
            message = f"{source}: its runner failed, {printable(result['message'], 300)}; {where}"
            raise RunnerError(message, result.get("traceback", ""))
        return result

    def _request(self, job: Job, folder: Path) -> dict[str, Any]:
        network, recipe = job.reading.network, job.reading.recipe
        return {
            "folder": str(folder),
            "framework": recipe.framework,
            "path": str(job.path.absolute()),
            "layers": [dict(layer) for layer in recipe.layers],
            "activations": [layer.activation for layer in network.layers],
            "gates": [_gates(layer) for layer in network.layers],
            "head": _head(job.reading) if job.head else [],
            "tensors": {name: self._save(array) for name, array in recipe.tensors.items()},
            "loadable": recipe.loadable or job.trusted,
            "trusted": job.trusted,
            "why_not": recipe.why_not,
            "dtype": computing_dtype(job),
            "threads": _threads(job),
            "input_size": network.input_size,
            "output_size": network.output_size,
            "batches": [self._batch(batch) for batch in job.batches],
        }

    def _batch(self, batch: Batch) -> dict[str, Any]:
        states = {"h0": batch.h0, "c0": batch.c0}
        saved = {name: given and [self._save(array) for array in given] for name, given in states.items()}
        lengths = None if batch.lengths is None else self._save(batch.lengths)
        return {"name": batch.name, "x": self._save(batch.x), "lengths": lengths, **saved}

    def _save(self, array: Array) -> Reference:
        return self._arrays.add(array)


def _gates(layer: Layer) -> dict[str, Any]:
    """What a runner has to know of a gated layer that it makes itself."""
    gating = layer.gating
    return {
        "cell": layer.cell,
        "gate_activation": gating.activation,
        "output_activation": gating.output or layer.activation,
        "reset_after": gating.reset_after,
        "cell_clip": gating.cell_clip,
        "forget_bias": [_added(direction) for direction in layer.directions] if layer.cell == "lstm" else [],
    }


def _added(direction: Direction) -> float:
    """The forget bias that is added at run time, where `bias_recurrent` holds nothing else; otherwise 0."""
    forget = direction.bias_recurrent[GATES["lstm"].index("f")]
    return float(forget[0]) if (forget == forget[0]).all() else 0.0


def _head(reading: Reading) -> list[dict[str, Any]]:
    """The dense layers behind, as the runner makes them."""
    head = reading.around.head
    assert head is not None
    both = zip(reading.recipe.head, head.layers, strict=True)
    return [{**spec, "activation": dense.activation} for spec, dense in both]


def _what(job: Job) -> str:
    """What is run, by value. A file held against itself is run twice: the label tells the two apart."""
    network, recipe = job.reading.network, job.reading.recipe
    batches = [(batch.name, batch.fingerprint()) for batch in job.batches]
    parts = (
        job.label,
        job.runtime,
        str(job.path.absolute()),
        recipe.layers,
        recipe.loadable,
        job.dtype,
        job.trusted,
        job.head,
        batches,
    )
    return f"{network.fingerprint()} {network.dtype} {parts}"


def compute_dtype(stored: np.dtype[Any]) -> str:
    """What a side computes in: float64 where its weights are, else float32 (narrower weights are widened exactly)."""
    return "float64" if stored == np.float64 else "float32"


def computing_dtype(job: Job) -> str:
    return job.dtype or compute_dtype(job.reading.network.dtype)


def _threads(job: Job) -> int:
    weights = sum(array.size for _, array in job.reading.network.tensors())
    operations = sum(2.0 * weights * batch.x.shape[0] * batch.x.shape[1] for batch in job.batches)
    return 1 if operations < _SMALL else (os.cpu_count() or 1)


class _Process:
    """One interpreter with one framework, started again for the rest where a file ends it."""

    def __init__(self, python: str, runtime: str, folder: Path, limits: Limits) -> None:
        self._python, self._runtime, self._folder, self._limits = python, runtime, folder, limits
        self._jobs: list[dict[str, Any]] = []
        self._start()

    def _start(self) -> None:
        self._started = time.monotonic()
        self._ended = ""  # how it ended, where nothing of it will run again
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_USE_LEGACY_KERAS": "1",
            "KERAS_BACKEND": "tensorflow",
            "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
            "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "-1"),
            "OMP_WAIT_POLICY": "passive",
            "PYTHONWARNINGS": "ignore",
            "TMPDIR": str(self._folder),  # what a framework leaves behind there goes with the folder
        }
        if self._python != sys.executable:  # a virtual environment or a path of this one is not for it
            environment = {k: v for k, v in environment.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        with (self._folder / "log").open("wb") as log:
            self._child = subprocess.Popen(
                [self._python, str(_SERVE), self._runtime, str(self._limits.memory)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self._folder,
            )

    def send(self, jobs: list[dict[str, Any]]) -> None:
        self._jobs = jobs
        path = self._folder / "request.json"
        path.write_text(json.dumps({"jobs": jobs}))
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died while importing: `result` tells how
            self._child.stdin.write(f"{path}\n".encode())
            self._child.stdin.close()

    def result(self, folder: Path, source: str) -> dict[str, Any]:
        file = folder / "result.json"
        if self._ended and not file.exists():
            raise RunnerError(f"{source}: its runner {self._ended}")
        try:
            remaining = self._started + self._limits.seconds - time.monotonic()
            while not file.exists() and remaining > 0:
                try:
                    self._child.wait(min(0.02, remaining))
                    break
                except subprocess.TimeoutExpired:
                    remaining = self._started + self._limits.seconds - time.monotonic()
        finally:
            if not file.exists():
                self.stop()
        if file.exists():
            found: dict[str, Any] = json.loads(file.read_text())
            return found
        ended = self._death(remaining)
        self._go_on(folder, ended)
        raise RunnerError(f"{source}: its runner {ended}")

    def _go_on(self, folder: Path, ended: str) -> None:
        """Run what comes after the job in `folder`, which ended the process; where none had begun, give the rest up."""
        rest = [each for each in self._jobs if not Path(each["folder"], "result.json").exists()]
        after = [each for each in rest if each["folder"] != str(folder)]
        if not (folder / "begun").exists():
            self._ended = ended
        elif after:
            self.stop()
            self._start()
            self.send(after)

    def _death(self, remaining: float) -> str:
        if remaining <= 0:
            return f"did not finish within {self._limits.seconds:g} s; allow more with --timeout, or run fewer steps"
        lines = (self._folder / "log").read_text(errors="replace").strip().splitlines()
        said = f", saying: {printable(lines[-1])}" if lines else ""
        code = self._child.returncode
        if any("MemoryError" in line or "bad_alloc" in line for line in lines):
            allowed = "that --memory allows; allow more, or" if self._limits.memory else "of the machine;"
            return f"ran out of the memory {allowed} run fewer steps"
        if code == -signal.SIGKILL:
            return "was killed, most likely because the machine ran out of memory; run fewer sequences or steps"
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return f"{how} before it had a result{said}; its framework may be broken: try it by itself"

    def abandon(self) -> None:
        """Stop, and start again for nothing."""
        self._jobs = []
        self._child.kill()

    def stop(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        if self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
