"""Look for files that the readers do not survive: python tests/fuzz/fuzz.py SECONDS [--only NAME] [--seed N]

Every harness writes mutated files from the fixtures, in a process of its own, and the tool inspects them. A finding is
an exception that is no RnnverifyError, an error that is no single sentence, a crash, more than 5 seconds or 500 MiB, or
anything written or started. The files of a finding are kept; the same seed makes them again. Exit code 1 on a finding.
"""

from __future__ import annotations

import argparse
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fuzz_worker import HARNESSES, make, write

SECONDS = 5.0  # for one sample
_WORKER = Path(__file__).with_name("fuzz_worker.py")
_STARTING = 60.0  # seconds until the first sample
_BATCH = 2000  # samples a process


@dataclass(frozen=True)
class Finding:
    """One sample that the tool did not survive."""

    harness: str
    seed: str
    number: int
    words: str

    def __str__(self) -> str:
        return f"{self.harness}, seed {self.seed}, sample {self.number}: {self.words}"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("seconds", type=float)
    parser.add_argument("--only", choices=sorted(HARNESSES))
    parser.add_argument("--seed", default=str(int(time.time())))
    parser.add_argument("--keep", type=Path, default=Path("findings"))
    options = parser.parse_args(arguments)
    names = [options.only] if options.only else list(HARNESSES)
    found: list[Finding] = []

    def campaign(name: str) -> None:
        end, first = time.monotonic() + options.seconds * workers / len(names), 0
        while time.monotonic() < end:
            batch = search(name, options.seed, first, _BATCH, end)
            for finding in batch.findings:
                print(finding, flush=True)
                write(
                    make(name, options.seed, finding.number), options.keep / f"{name}-{options.seed}-{finding.number}"
                )
            found.extend(batch.findings)
            first = batch.next
        print(f"{name}: {first} samples, {sum(f.harness == name for f in found)} findings", flush=True)

    workers = min(os.cpu_count() or 1, len(names))
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(campaign, names))
    return 1 if found else 0


@dataclass(frozen=True)
class Searched:
    """What came of a stretch of samples."""

    findings: tuple[Finding, ...]
    next: int  # the sample to go on with


def search(name: str, seed: str, first: int, count: int, end: float = float("inf")) -> Searched:
    """Samples `first` to `first + count`, in processes of their own: one that dies or hangs is replaced."""
    findings, k = [], first
    with tempfile.TemporaryDirectory(prefix="rnnverify-fuzz-") as folder:
        while k < first + count and time.monotonic() < end:
            lines, died = [], ""
            for line in said(name, seed, k, first + count - k, Path(folder), end):
                if line.startswith("!"):
                    died = line[1:]
                else:
                    lines.append(line)
            made = [line for line in lines if line.startswith(("making ", "sample "))]
            findings += [_finding(name, seed, line) for line in lines if line.startswith("finding ")]
            if not made and not died:
                break  # out of time
            making = not made or made[-1].startswith("making ")
            if making and died and not _by_signal(died):
                raise RuntimeError(f"{name}: sample {k} or one after it cannot be made: {died}")
            k = int(made[-1].split()[1]) + 1 if made else k + 1
            if died and not making:  # else h5py crashed on the change that it was asked to make
                findings.append(Finding(name, seed, k - 1, died))
    return Searched(tuple(findings), k)


def _by_signal(died: str) -> bool:
    return died.startswith("the process died (-")


def _finding(name: str, seed: str, line: str) -> Finding:
    number, _, words = line.removeprefix("finding ").partition(": ")
    return Finding(name, seed, int(number), words)


def said(name: str, seed: str, first: int, count: int, folder: Path, end: float) -> Iterator[str]:
    """The lines of one worker; last, after `!`, how it died, where it did not end by itself."""
    tests = _WORKER.parents[1]
    path = os.pathsep.join([str(tests.parent), str(tests / "containers"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, str(_WORKER), name, seed, str(first), str(count), str(folder / name)]
    lines: queue.Queue[str] = queue.Queue()
    patience = _STARTING
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True) as child,
    ):
        reader = threading.Thread(target=_pass_on, args=(child, lines))
        reader.start()
        try:
            while line := lines.get(timeout=max(0.01, min(patience, end - time.monotonic()))):
                patience = SECONDS
                yield line
            if child.returncode:
                errors.seek(0)
                yield f"!the process died ({child.returncode}): {_last(errors.read())}"
        except queue.Empty:
            if time.monotonic() < end:
                yield f"!did not end within {patience:g} s"
        finally:
            child.kill()
            reader.join()


def _pass_on(child: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Every line of `child` into `lines`; an empty one where it has ended, and its return code is known."""
    assert child.stdout is not None
    for line in child.stdout:
        lines.put(line.rstrip("\n"))
    child.wait()
    lines.put("")


def _last(said: bytes) -> str:
    return said.decode(errors="replace").strip().rpartition("\n")[2][:300]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
