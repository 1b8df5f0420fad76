"""Places that tests share, and the command line as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def fixtures() -> Path:
    """The folder of model files."""
    return FIXTURES


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`rnnverify ARGUMENTS` in a process of its own, in an empty folder."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rnnverify", *(str(argument) for argument in arguments)]
        env = {**os.environ, "COLUMNS": "100", **environment}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=300)

    return run
