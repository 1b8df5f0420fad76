"""One interpreter with one framework: started, sent its jobs, waited for, and what is said where it dies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnverify.errors import OptionError, RunnerError, printable

_SERVE = Path(__file__).parent / "runners" / "serve.py"


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


class RunnerProcess:
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
