"""Sides run by other interpreters, with the frameworks that those have: OLD_PYTHONS=/opt/tf115/bin/python:/opt/...

They were Python 3.7 with TensorFlow 1.15 and 2.11, and Python 3.8 with PyTorch 1.4, when these tests were written.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import rnnverify
from rnnverify.options import Options

PYTHONS = [path for path in os.environ.get("OLD_PYTHONS", "").split(os.pathsep) if path]
FILES = {
    "torch": ["rnn.pt", "bidirectional.pt", "whole_module.pt", "rnn.safetensors"],
    "tensorflow": ["simple_rnn.h5", "bidirectional.h5", "stacked.keras", "basic_rnn_cell.ckpt", "stacked.ckpt"],
}


@pytest.mark.skipif(not PYTHONS, reason="OLD_PYTHONS names no other interpreter")
@pytest.mark.parametrize("python", PYTHONS)
def test_each_of_its_frameworks_runs_its_files_as_todays_does(python: str, fixtures: Path) -> None:
    ran = []
    for framework, files in FILES.items():
        if subprocess.run([python, "-c", f"import {framework}"], capture_output=True, check=False).returncode:
            continue
        for name in files:
            side = str(fixtures / name)
            result = rnnverify.compare(side, side, options=Options(pythons=(f"B={python}",), engine="native"))
            assert result.verdict in ("IDENTICAL", "EQUIVALENT"), (name, result.pairs[0].reasons)
            today, old = result.sides
            assert old.engine == "native" and old.versions[framework] != today.versions[framework]
            ran.append(name)
    assert ran, f"{python} has neither TensorFlow nor PyTorch"
