"""The progress of a check: a bar on a terminal, plain lines in a log; and the table, worst first."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from comparisons import DIFFERENT, EQUIVALENT, THREE

from rnnverify.check import Checked
from rnnverify.outcomes import Outcome
from rnnverify.reports.checked import progress, render

GOOD = Outcome("good", ("a.h5", "a.pt"), EQUIVALENT, "", (), "rnnverify compare a.h5 a.pt")
BAD = Outcome("bad\x1b[31m", ("b.h5", "b.pt"), DIFFERENT, "", ("DIFFERENT: so",), "rnnverify compare b.h5 b.pt")
BROKEN = Outcome("NaN", ("c.h5", "c.pt"), THREE, "", ("DIFFERENT: not a number",), "rnnverify compare c.h5 c.pt")
GONE = Outcome("gone", ("d.h5", "d.pt"), None, "d.pt: there is no such file", (), "", "file", "d.pt")

CONFIG = """
[defaults]
engine = "reference"
steps = 4
[[compare]]
name = "pair"
sides = ["{folder}/simple_rnn.h5", "{folder}/rnn.pt"]
[[compare]]
name = "gone"
sides = ["{folder}/rnn.pt", "gone.pt"]
"""


def test_a_log_gets_a_plain_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as show:
        for k, outcome in enumerate((GOOD, BAD, GONE)):
            show(outcome, k + 1, 3)
    assert capsys.readouterr().err.splitlines() == [
        "[1/3] ok   good  EQUIVALENT 1.2e-07",
        "[2/3] FAIL bad\\x1b[31m  DIFFERENT 0.75",
        "[3/3] FAIL gone  error",
    ]


def test_the_log_of_a_command_is_plain(
    tmp_path: Path, fixtures: Path, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "rnnverify.toml").write_text(CONFIG.format(folder=fixtures))
    result = run("check")
    assert result.returncode == 2
    assert result.stderr.splitlines() == ["[1/2] ok   pair  IDENTICAL 0", "[2/2] FAIL gone  error"]
    assert "[1/2]" not in result.stdout and "\x1b" not in result.stdout + result.stderr


def test_a_terminal_gets_a_bar_that_goes_away(tmp_path: Path, fixtures: Path) -> None:
    (tmp_path / "rnnverify.toml").write_text(CONFIG.format(folder=fixtures))
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "rnnverify", "check"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as child:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux says so where the other end is closed
            while read := os.read(ours, 65536):
                shown += read
        table, _ = child.communicate(timeout=60)
    os.close(ours)
    drawn = shown.decode()
    assert child.returncode == 2 and "1 passed, 1 failed" in table
    assert "━" in drawn and "2/2" in re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", drawn) and "[1/2]" not in drawn
    assert drawn.rstrip().endswith("\x1b[2K"), "the bar is wiped at the end"


def test_the_worst_come_first() -> None:
    text = render(Checked((GOOD, GONE, BAD, BROKEN), 0, "", False), "terminal", width=100)
    places = [text.index(words) for words in ("NaN", "bad", "gone", "good", "1 passed, 3 failed")]
    assert places == sorted(places)
    assert "not a number" in text and "d.pt: there is no such file" in text
