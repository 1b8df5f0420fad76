"""How a command ends: where its report goes, what a terminal, a pipe or a full disk get."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
REFERENCE = ("--engine", "reference")


def test_output_to_a_place_that_cannot_be_written(run: Run, fixtures: Path) -> None:
    model = fixtures / "rnn.pt"
    for command in (["compare", model, model, *REFERENCE, "-o", "no/such/report"], ["run", model, "-o", "no/such.npz"]):
        result = run(*command)
        assert result.returncode == 2 and "cannot be written" in result.stderr and result.stderr.count("\n") == 1


def test_colour_and_width(run: Run, fixtures: Path) -> None:
    command = ("compare", fixtures / "rnn.pt", fixtures / "wrong" / "bias_hh_dropped.pt", *REFERENCE)
    assert "\x1b[" not in run(*command).stdout
    assert "\x1b[" in run(*command, FORCE_COLOR="1").stdout
    assert "\x1b[" not in run(*command, FORCE_COLOR="1", NO_COLOR="1").stdout
    narrow = run(*command, COLUMNS="60").stdout
    assert max(len(line) for line in narrow.splitlines()) <= 60
    ascii_only = run(*command, PYTHONIOENCODING="ascii")
    assert ascii_only.returncode == 1 and "DIFFERENT" in ascii_only.stdout


def test_debug_shows_the_traceback(run: Run, fixtures: Path) -> None:
    result = run("compare", fixtures / "rnn.pt", fixtures / "bad" / "empty.pt", "--debug")
    assert result.returncode == 2 and "Traceback" in result.stderr and "error: " in result.stderr


def test_names_with_control_characters_are_escaped(run: Run, fixtures: Path, tmp_path: Path) -> None:
    odd = tmp_path / "red\x1b[31m [bold]x.pt"
    odd.write_bytes((fixtures / "rnn.pt").read_bytes())
    result = run("compare", fixtures / "rnn.pt", odd.name, *REFERENCE)
    assert result.returncode == 0
    assert "\x1b" not in result.stdout and "red\\x1b[31m [bold]x.pt" in result.stdout


def test_a_report_into_a_pipe_leaves_the_pipe(run: Run, fixtures: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        result = run("compare", fixtures / "rnn.pt", fixtures / "rnn_legacy.pt", *REFERENCE, "-o", "pipe")
        report, _ = reader.communicate(timeout=60)
    assert result.returncode == 0 and "IDENTICAL" in report and (tmp_path / "pipe").is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_output_that_fails_is_an_error(fixtures: Path) -> None:
    command = f"{sys.executable} -m rnnverify compare {fixtures}/rnn.pt {fixtures}/rnn.pt --engine reference"
    for redirection, code in ((">/dev/full", 2), (">&-", 2), ("| head -1", 0)):
        result = subprocess.run(["sh", "-c", f"{command} {redirection}"], capture_output=True, text=True, timeout=60)
        assert result.returncode == code and "Traceback" not in result.stderr, (redirection, result.stderr)


def test_a_polite_end_stops_the_runners(fixtures: Path, tmp_path: Path) -> None:
    files = (str(fixtures / "simple_rnn.h5"), str(fixtures / "rnn.pt"))
    command = [sys.executable, "-m", "rnnverify", "compare", *files]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("rnnverify-*/*/log")) and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 128 + signal.SIGTERM and b"Traceback" not in said
    assert list(tmp_path.glob("rnnverify-*")) == []
