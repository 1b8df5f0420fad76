"""Files run by their own frameworks, each runtime in its own process (`runners/serve.py`).

TensorFlow and PyTorch are never imported together: each has its own environment, threads, time and memory limit, and
its crash is one side's error. Keras files and TensorFlow cells share one TensorFlow, whose import costs the most.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rnnverify.canonical import Array
from rnnverify.containers.contents import FrameworkName
from rnnverify.errors import RunnerError, printable
from rnnverify.jobs import RUNTIMES, Job, Order, computing_dtype, gates_of, head_of, threads, what
from rnnverify.packed import Pack, Reference, Unpack
from rnnverify.runner_process import Limits, RunnerProcess
from rnnverify.trace import Batch, Run, Trace

_EXTRAS = {name: name for name in RUNTIMES}
_PACKAGES = {"onnx": "onnx onnxruntime"}
"""What a runtime is installed as, where not by its own name."""


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
        self._processes: dict[tuple[str, str], RunnerProcess] = {}
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
            self._processes[runtime] = RunnerProcess(*runtime, self._new_folder(), self._limits)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Hand every job to the process of its framework; once, as a process takes one request."""
        requests: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for job in jobs:
            self._start(job.runtime)
            key = what(job)
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
        result = self._result(job.runtime, self._folders[what(job)], job.source, job.reading.recipe.framework)
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
            "gates": [gates_of(layer) for layer in network.layers],
            "head": head_of(job.reading) if job.head else [],
            "tensors": {name: self._save(array) for name, array in recipe.tensors.items()},
            "loadable": recipe.loadable or job.trusted,
            "trusted": job.trusted,
            "why_not": recipe.why_not,
            "dtype": computing_dtype(job),
            "threads": threads(job),
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
