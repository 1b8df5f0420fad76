"""Comparisons on a real Dask cluster of processes on this machine, whose workers are killed in the middle of a run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify import __version__, cluster
from rnnverify.check import Checked, How, check
from rnnverify.cluster import _chunks, made_by_worker, outcomes_on_cluster
from rnnverify.config import Config, Declared, read_config
from rnnverify.errors import OptionError, RunnerError
from rnnverify.options import Options
from rnnverify.runner_process import Limits

distributed = pytest.importorskip("distributed", reason="Dask is an extra")
psutil = pytest.importorskip("psutil", reason="Dask brings it")

SLOW_TORCH = """
import os, pathlib, sys, time
here = pathlib.Path(__file__).parents[1]
(here / "runner").write_text(str(os.getpid()))
(here / "worker.part").write_text(str(os.getppid()))
(here / "worker.part").rename(here / "worker")
while not (here / "go").exists():
    time.sleep(0.02)
sys.path.remove(str(here))
del sys.modules["torch"]
import torch
"""
"""Tells who runs it, and waits for a sign before it is the real one."""


@pytest.fixture
def folder(tmp_path: Path, fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the client: three pairs that pass, fail, and cannot be made; and interpreters."""
    for name in ("simple_rnn.h5", "rnn.pt", "wrong/recurrent_transposed.pt"):
        shutil.copy(fixtures / name, tmp_path)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(SLOW_TORCH)
    program(tmp_path / "slow", f'PYTHONPATH={tmp_path} exec {sys.executable} "$@"')
    program(tmp_path / "deadly", "kill -9 $PPID; sleep 60")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def pair(name: str, more: str = 'engine = "reference"', other: str = "rnn.pt") -> str:
    return f'[[compare]]\nname = "{name}"\nsides = ["simple_rnn.h5", "{other}"]\n{more}\n'


def config_of(folder: Path, *pairs: str) -> Config:
    (folder / "rnnverify.toml").write_text("\n".join(pairs))
    return read_config(Path("rnnverify.toml"))


@contextmanager
def workers(count: int) -> Iterator[Any]:
    """A cluster of its own; how many deaths a chunk survives is what it says by default."""
    with distributed.LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        memory_limit=0,
        silence_logs=60,
    ) as made:
        yield made


def wait_for(what: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def pid_in(path: Path) -> int:
    return int(path.read_text())


def verdicts(found: Checked) -> list[tuple[str, str]]:
    return [(each.name, each.result.verdict if each.result else "error") for each in found.outcomes]


def test_a_killed_worker_loses_nothing(folder: Path) -> None:
    slow = 'python = "B=./slow"\nengine = "native"'
    pairs = [
        pair("first"),
        pair("slow", slow),
        pair("wrong", other="recurrent_transposed.pt"),
        pair("gone", "", "no.pt"),
    ]
    config = config_of(folder, *pairs)
    killed: list[int] = []

    def kill() -> None:
        wait_for((folder / "worker").exists)  # its runner is in the middle of its chunk
        killed.append(pid_in(folder / "worker"))
        os.kill(killed[0], signal.SIGKILL)
        wait_for(lambda: gone(pid_in(folder / "runner")))
        (folder / "go").touch()

    seen: list[str] = []
    with workers(2) as made:
        pids = {nanny.pid for nanny in made.workers.values()}
        killer = threading.Thread(target=kill)
        killer.start()
        how = How(scheduler=made.scheduler_address)
        found = check(config, how, lambda outcome, k, n: seen.append(f"{outcome.name} {k}/{n}"))
        killer.join()
        assert killed and killed[0] in pids
    wanted = [("first", "IDENTICAL"), ("slow", "EQUIVALENT"), ("wrong", "DIFFERENT"), ("gone", "error")]
    assert verdicts(found) == wanted and found.exit_code == 1
    assert seen == ["first 1/4", "slow 2/4", "wrong 3/4", "gone 4/4"]
    assert pid_in(folder / "worker") != killed[0]  # it was run again, elsewhere


def test_jobs_are_workers_of_this_machine_and_give_the_same(folder: Path) -> None:
    config = config_of(folder, *(pair(f"pair-{k}", f'engine = "reference"\nseed = {k}') for k in range(5)))
    alone, together = check(config), check(config, How(jobs=2))
    assert [outcome.result for outcome in together.outcomes] == [outcome.result for outcome in alone.outcomes]
    assert not [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_workers_of_this_machine_are_reached_from_it_alone_and_over_tls() -> None:
    with cluster._connected(1, "") as client:
        scheme = "tls" if importlib.util.find_spec("cryptography") else "tcp"
        (worker,) = client.scheduler_info()["workers"]
        assert all(address.startswith(f"{scheme}://127.0.0.1:") for address in (client.scheduler.address, worker))


def test_what_ends_its_worker_fails_alone(folder: Path) -> None:
    deadly = pair("deadly", 'python = "B=./deadly"')
    found = check(config_of(folder, pair("before"), deadly, pair("after")), How(jobs=2))
    assert verdicts(found) == [("before", "IDENTICAL"), ("deadly", "error"), ("after", "IDENTICAL")]
    assert "each worker that tried it died" in found.outcomes[1].error
    assert "rnnverify compare simple_rnn.h5 rnn.pt --python B=./deadly" in found.outcomes[1].error


def test_closing_it_ends_what_runs_and_leaves_the_workers(folder: Path) -> None:
    slow = pair("slow", 'python = "B=./slow"\nengine = "native"')
    config = config_of(folder, pair("wrong", other="recurrent_transposed.pt"), slow)
    with workers(2) as made:
        before = {nanny.pid for nanny in made.workers.values()}
        found = outcomes_on_cluster(config.comparisons, Limits(), 1, made.scheduler_address)
        assert next(found).name == "wrong"
        wait_for((folder / "runner").exists)
        found.close()
        wait_for(lambda: gone(pid_in(folder / "runner")), 10)
        assert {nanny.pid for nanny in made.workers.values()} == before
        with distributed.Client(made, set_as_default=False) as client:
            assert client.submit(len, "ab").result(timeout=10) == 2  # the worker is free again


def test_fail_fast_waits_for_nothing_that_comes_later(folder: Path) -> None:
    slow = pair("slow", 'python = "B=./slow"\nengine = "native"')
    found = check(
        config_of(folder, pair("good"), pair("wrong", other="recurrent_transposed.pt"), slow),
        How(jobs=3, fail_fast=True),
    )
    assert verdicts(found) == [("good", "IDENTICAL"), ("wrong", "DIFFERENT")] and found.left_out == 1


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(folder: Path, end: signal.Signals) -> None:
    config_of(folder, pair("slow", 'python = "B=./slow"\nengine = "native"'), pair("good"))
    root = str(Path(cluster.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "rnnverify", "check", "--jobs", "2"]
    with (folder / "log").open("wb") as log:
        # a shell that runs the tests in the background lets them ignore it, and what they start would, too
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            client = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        finally:
            signal.signal(signal.SIGINT, before)
    wait_for((folder / "runner").exists)
    if end == signal.SIGINT:
        os.killpg(client.pid, end)  # as a terminal does: to all of them
    else:
        client.send_signal(end)
    client.wait(30)
    wait_for(lambda: not [each for each in psutil.process_iter() if session_of(each.pid) == client.pid], 30)
    if end != signal.SIGKILL:
        assert "Traceback" not in (folder / "log").read_text()
        assert not list(folder.glob("rnnverify-*"))


def session_of(pid: int) -> int:
    try:
        return os.getsid(pid) if not gone(pid) else 0
    except ProcessLookupError:
        return 0


def test_a_cluster_that_cannot_be_used_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(folder, pair("good"))
    monkeypatch.setattr(cluster, "_ANSWER", 0.5)
    monkeypatch.setattr(cluster, "_PATIENCE", 0.5)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(OptionError, match=rf"--scheduler {address}: .*wanted the address of a running Dask"):
            check(config, How(scheduler=address))
    with workers(0) as made, pytest.raises(RunnerError, match="has no worker; start one with: dask worker tcp://"):
        monkeypatch.setattr(cluster, "_ANSWER", 10.0)
        check(config, How(scheduler=made.scheduler_address))
    with pytest.raises(OptionError, match="--jobs 2: a cluster has workers of its own"):
        How(jobs=2, scheduler="tcp://127.0.0.1:8786")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(OptionError, match=r"--jobs 2: needs Dask .*pip install 'rnnverify\[dask\]'"):
        check(config, How(jobs=2))
    with pytest.raises(OptionError, match="--scheduler tcp://a:1: needs Dask"):
        check(config, How(scheduler="tcp://a:1"))


def test_a_worker_without_the_files_or_with_another_version_says_so(folder: Path) -> None:
    config = config_of(folder, pair("good"), pair("other"))
    elsewhere = folder / "elsewhere.pt"
    with workers(1) as made, distributed.Client(made, set_as_default=False) as client:
        task = (config.comparisons, [[], [elsewhere]], Limits(), folder, False)
        good, other = client.submit(made_by_worker, *task, __version__).result()
        assert good.passed
        assert f"{elsewhere}: is not on the worker tcp://" in other.error and "shared folder" in other.error
        with pytest.raises(OptionError, match=rf"has rnnverify {__version__}, here is 0.0.1; install the same"):
            client.submit(made_by_worker, *task, "0.0.1").result()


def test_a_lost_scheduler_is_one_sentence(folder: Path) -> None:
    config = config_of(folder, pair("slow", 'python = "B=./slow"\nengine = "native"'))
    with workers(1) as made:

        def lose() -> None:
            wait_for((folder / "runner").exists)
            made.close()

        loser = threading.Thread(target=lose)
        loser.start()
        with pytest.raises(RunnerError, match="is gone"):
            check(config, How(scheduler=made.scheduler_address))
        loser.join()
    wait_for(lambda: gone(pid_in(folder / "runner")))


def declared(baseline: str, k: int) -> Declared:
    return Declared(f"pair-{k}", (baseline, "b.pt"), Options(), (), "")


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=300), st.integers(0, 9))
def test_chunks_are_a_partition_with_baselines_side_by_side(baselines: list[str], count: int) -> None:
    chunks = _chunks([declared(baseline, k) for k, baseline in enumerate(baselines)], count)
    assert sorted(k for chunk in chunks for k in chunk) == list(range(len(baselines)))
    assert all(chunk == sorted(chunk) and 1 <= len(chunk) <= 50 for chunk in chunks)
    assert len(chunks) >= min(max(count, 1), len(baselines)) / 2 and len(chunks) <= max(count, 1) + len(baselines) // 50
    shared = [{baselines[k] for k in chunk} for chunk in chunks]
    assert sum(len(each) for each in shared) <= len(set(baselines)) + len(chunks) - 1
