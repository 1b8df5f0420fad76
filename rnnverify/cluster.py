"""Comparisons on a Dask cluster: one on this machine for `--jobs`, or any for `--scheduler tcp://host:8786`.

They go out in chunks, as every chunk pays for the import of its frameworks. A worker that dies loses nothing: Dask runs
its chunks elsewhere, and a chunk that ends one worker after another is taken apart, so that only the comparison that
does it fails. Chunks come back in any order; outcomes leave in the order of the config. This module alone imports Dask.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from rnnverify import __version__
from rnnverify.config import Declared
from rnnverify.errors import FileError, OptionError, RnnverifyError, RunnerError, printable
from rnnverify.native import Runners
from rnnverify.outcomes import Outcome, outcomes, unmade
from rnnverify.runner_process import Limits
from rnnverify.sides import exists, parse_all

_LARGEST_CHUNK = 50  # small pairs take about as long as their frameworks take to import
_ANSWER = 10.0  # seconds for a scheduler to answer
_PATIENCE = 60.0  # seconds for a worker to be there: adaptive clusters start them when there is something to do
_POLL = 0.2  # seconds
_IGNORE_INTERRUPTS = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"
"""A Ctrl-C reaches every process of a terminal: this one ends the workers, which would only complain."""

# Dask has no types that hold under --strict: its clients, futures and workers are Any here


def outcomes_on_cluster(
    chosen: Sequence[Declared], limits: Limits, jobs: int, scheduler: str = "", *, fail_fast: bool = False
) -> Generator[Outcome, None, None]:
    """What becomes of each of `chosen`, in their order; by `jobs` workers of this machine where no scheduler is given.

    With `fail_fast` nothing is begun any more that comes after a failure. Raises OptionError where Dask is missing or
    the cluster cannot be used, RunnerError where it is lost. Closing the iterator ends all that still runs.
    """
    with _connected(jobs, scheduler) as client:
        work = _Work(client, chosen, limits, fail_fast)
        try:
            for chunk in _chunks(chosen, sum(client.nthreads().values())):
                work.submit(chunk)
            made: dict[int, Outcome] = {}
            for k in range(len(chosen)):
                while k not in made:
                    made.update(work.next())
                yield made.pop(k)
        finally:
            work.cancel(0)


def _chunks(chosen: Sequence[Declared], workers: int) -> list[list[int]]:
    """Indices of comparisons, those of one baseline side by side: a chunk for each worker, or more that are full."""
    first: dict[str, int] = {}
    for k, declared in enumerate(chosen):
        first.setdefault(declared.sides[0], k)
    ordered = sorted(range(len(chosen)), key=lambda k: (first[chosen[k].sides[0]], k))
    size = min(_LARGEST_CHUNK, -(-len(ordered) // max(workers, 1)))
    return [sorted(ordered[start : start + size]) for start in range(0, len(ordered), size)]


class _Work:
    """The chunks that are out."""

    def __init__(self, client: Any, chosen: Sequence[Declared], limits: Limits, fail_fast: bool) -> None:
        self._client, self._chosen, self._limits, self._fail_fast = client, chosen, limits, fail_fast
        self._out: dict[str, tuple[Any, list[int]]] = {}  # by key
        self._back: SimpleQueue[Any] = SimpleQueue()

    def submit(self, chunk: list[int]) -> None:
        here = Path.cwd()
        comparisons = [self._chosen[k] for k in chunk]
        files = [_files(declared, here) for declared in comparisons]
        task = (comparisons, files, self._limits, here, self._fail_fast, __version__)
        future = self._client.submit(made_by_worker, *task, pure=False)
        self._out[future.key] = future, chunk
        future.add_done_callback(self._back.put)

    def next(self) -> dict[int, Outcome]:
        """Wait for a chunk; what became of its comparisons. Those that ended their workers come later, each alone."""
        from distributed import KilledWorker

        future = self._wait()
        _, chunk = self._out.pop(future.key)
        try:
            made: list[Outcome] = future.result()
        except KilledWorker:
            if len(chunk) > 1:
                for k in chunk:
                    self.submit([k])
                return {}
            made = [_fatal(self._chosen[chunk[0]])]
        except RnnverifyError:
            raise
        except CancelledError as error:
            raise RunnerError(f"the cluster at {_address(self._client)} is gone ({printable(error)})") from error
        except Exception as problem:
            cause = problem.__cause__ or problem  # a scheduler without the package says so behind other words
            words = f"{type(cause).__name__}: {printable(cause)}"
            advice = f"its scheduler and every worker need rnnverify {__version__}, and Python and Dask as here"
            raise OptionError(f"the cluster at {_address(self._client)} cannot run it, {words}; {advice}") from problem
        if self._fail_fast and not made[-1].passed:
            self.cancel(chunk[len(made) - 1] + 1)
        return dict(zip(chunk, made, strict=False))

    def _wait(self) -> Any:
        waited = 0.0
        while waited < _PATIENCE:
            try:
                future = self._back.get(timeout=_POLL)
            except Empty:
                waited = 0.0 if self._client.scheduler_info()["workers"] else waited + _POLL
                continue
            if future.key in self._out:
                return future
        address = _address(self._client)
        raise RunnerError(f"{address} has no worker; start one with: dask worker {address}") from None

    def cancel(self, start: int) -> None:
        """Give up every chunk all of whose comparisons come from index `start` on."""
        gone = [future for future, chunk in self._out.values() if chunk[0] >= start]
        for future in gone:
            del self._out[future.key]
        if gone and self._client.status == "running":
            self._client.cancel(gone)


def _files(declared: Declared, here: Path) -> list[Path]:
    """What there is here of the files of a comparison."""
    try:
        paths = [source.path for source in parse_all(declared.sides, here)]
    except OptionError:
        return []
    inputs = declared.options.inputs.file
    return [path for path in (*paths, *([here / inputs] if inputs else [])) if exists(path)]


def _fatal(declared: Declared) -> Outcome:
    found = "each worker that tried it died, most likely because the machine ran out of memory"
    advice = f"run fewer sequences or steps, or try it by itself: {declared.command}"
    return unmade(declared, RunnerError(f"{found}; {advice}"))


@contextmanager
def _connected(jobs: int, scheduler: str) -> Iterator[Any]:
    """A client of the cluster that is asked for."""
    try:
        import distributed
    except ImportError as error:
        asked = f"--scheduler {printable(scheduler)}" if scheduler else f"--jobs {jobs}"
        raise OptionError(f"{asked}: needs Dask ({error}); install it with: pip install 'rnnverify[dask]'") from error
    with ExitStack() as stack:
        address: Any = scheduler
        try:
            if not scheduler:
                folder = stack.enter_context(TemporaryDirectory(prefix="rnnverify-", ignore_cleanup_errors=True))
                address = stack.enter_context(closing(_local(distributed, jobs, folder)))
            client = distributed.Client(address, timeout=_ANSWER, set_as_default=False)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            if not scheduler:
                raise RunnerError(f"--jobs {jobs}: no cluster could be started here ({printable(error)})") from error
            wanted = "wanted the address of a running Dask scheduler, such as tcp://host:8786"
            raise OptionError(f"--scheduler {printable(scheduler)}: {printable(error)}; {wanted}") from error
        stack.enter_context(client)
        yield client


def _local(distributed: Any, jobs: int, folder: str) -> Any:
    """`jobs` worker processes on this machine that no other machine can reach, nor, with cryptography, another user."""
    try:
        security = distributed.Security.temporary()
    except ImportError:
        security = None
    return distributed.LocalCluster(
        n_workers=jobs,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        memory_limit=0,  # a worker is small, and its runners have limits of their own
        silence_logs=logging.CRITICAL,
        security=security,
        local_directory=folder,
        preload=[_IGNORE_INTERRUPTS],
        scheduler_kwargs={"allowed_failures": 1, "dashboard": False, "dashboard_address": "127.0.0.1:0"},
    )


def _address(client: Any) -> str:
    return str(client.scheduler.address)


def made_by_worker(
    comparisons: Sequence[Declared],
    files: Sequence[Sequence[Path]],  # of each, what the client has
    limits: Limits,
    folder: Path,  # of the client, which relative paths start from
    fail_fast: bool,
    version: str,  # of the client
) -> list[Outcome]:
    """A chunk: what becomes of its comparisons, in order; up to the first failure with `fail_fast`."""
    from distributed import get_worker

    worker = get_worker()
    if version != __version__:
        found = f"the worker {worker.address} has rnnverify {__version__}, here is {version}"
        raise OptionError(f"{found}; install the same version on every worker")
    made: list[Outcome] = []
    with Runners(limits) as runners, _ended_with_task(worker, runners) as cancelled:
        for declared, there, outcome in zip(comparisons, files, outcomes(comparisons, runners, folder), strict=True):
            missing = next((path for path in there if not exists(path)), None)
            if missing:
                words = f"is not on the worker {worker.address}"
                advice = "workers need the files at the same path as here, in a shared folder say"
                outcome = unmade(declared, FileError(missing, words, advice))
            made.append(outcome)
            if cancelled.is_set() or (fail_fast and not outcome.passed):
                break
    return made


@contextmanager
def _ended_with_task(worker: Any, runners: Runners) -> Iterator[threading.Event]:
    """End `runners` when the client has gone or has cancelled the task, or the worker leaves; the event tells."""
    key, cancelled, over = worker.get_current_task(), threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(_POLL):
            task = worker.state.tasks.get(key)
            leaving = worker.status.name not in ("running", "paused")
            if task is None or task.state in ("cancelled", "released", "forgotten") or leaving:
                cancelled.set()
                runners.abandon()

    thread = threading.Thread(target=watch, name="rnnverify-cancel", daemon=True)
    thread.start()
    try:
        yield cancelled
    finally:
        over.set()
        thread.join()
