"""Version and help."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

import rnnverify
from rnnverify.cli import app

Run = Callable[..., subprocess.CompletedProcess[str]]


def commands() -> list[str]:
    """All but `run`, which is another name of `record`."""
    named = [each.name or getattr(each.callback, "__name__", "") for each in app.registered_commands]
    return [name for name in named if name != "run"]


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"rnnverify {rnnverify.__version__}\n"


def test_help_has_an_example_of_every_command(run: Run) -> None:
    text = run("--help").stdout
    for command in commands():
        assert re.search(rf"^  rnnverify {command} ", text, re.MULTILINE), command


@pytest.mark.parametrize("command", commands())
def test_the_help_of_a_command_begins_with_how_it_is_called(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], terminal_width=200)
    assert result.exit_code == 0 and f"  rnnverify {command}" in result.stdout


def test_what_is_missing_is_an_error(run: Run) -> None:
    assert run("compare", "only_one.pt").returncode == 2
    assert run("comparre").returncode == 2
