"""The README is executed: its report is what the command prints, its Python runs, its commands are real.

`python tests/test_readme.py` writes the report into the README again.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DASK = ("--nthreads",)  # options of its own commands
REPORT = re.compile(r"(<!-- report: (?P<command>.*?) -->\n```\n)(?P<report>.*?)(```)", re.DOTALL)


def printed(command: str) -> str:
    arguments = [sys.executable, "-m", "rnnverify", *command.split()]
    environment = {**os.environ, "COLUMNS": "96"}
    return subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, env=environment, check=True).stdout


def shape_of(report: str) -> str:
    """A report without what differs from machine to machine: digits of deviations, places, the profile, versions."""
    report = re.sub(r"[▁-█]+", "~", report)
    return re.sub(
        r"\s+",
        " ",
        re.sub(r"from (zero|random initial) states", "from states", re.sub(r"[\d.e+-]*\d(\+cpu)?%?", "#", report)),
    )


def test_the_report_is_what_the_command_prints() -> None:
    found = REPORT.search(README.read_text(encoding="utf-8"))
    assert found and "EQUIVALENT" in found["report"]
    assert shape_of(found["report"]) == shape_of(printed(found["command"]))


def test_the_python_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    for block in blocks:
        subprocess.run([sys.executable, "-c", block], cwd=ROOT, check=True)


def test_the_commands_and_options_exist() -> None:
    text = README.read_text(encoding="utf-8")
    known = "".join(printed(f"{command} --help") for command in ("compare", "convert", "inspect", "run", "check"))
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)):
        assert option in known or option in ("--version", "--install-completion", *DASK), option
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+)", text)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for path in set(re.findall(r"`(rnnverify/[\w/.]+)`", text)):
        assert (ROOT / path).exists(), path


def test_a_report_of_another_shape_is_noticed() -> None:
    assert shape_of("maximum deviation 3.6e-07 step 9") == shape_of("maximum deviation 1.2e-07 step 12")
    assert shape_of("EQUIVALENT 1") != shape_of("DIFFERENT 1")


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    README.write_text(REPORT.sub(lambda m: m[1] + printed(m["command"]) + m[4], text), encoding="utf-8")
