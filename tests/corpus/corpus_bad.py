"""Malformed, hostile and odd files, each given to the command line in a process of its own, on a copy of its folder.

Whatever the file: no traceback, no hang, no memory without bound, nothing executed, nothing written; and the exit code
that the case asks for. A good file behind an odd name has to be compared, a bad one refused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from corpus_cases import Case

PWNED = Path("/tmp/rnnverify_pwned")  # what the hostile files of the corpus try to make
SECONDS = 20.0
MEMORY = 700 * 2**20  # bytes resident
CODES = {
    "load": {0, 3},
    "load_or_ask": {0, 2},
    "load_or_explain": {0, 2},
    "load_or_refuse": {0, 2},
    "refuse": {2, 3},
    "refuse_or_warn": {0, 1, 2, 3},
}
"""The exit codes that each expectation admits; 3 says that these inputs tell nothing, 1 that the sides differ."""
COMMANDS = (["inspect"], ["compare", "--engine", "reference"])


def judge_bad(cases: Sequence[Case]) -> list[str]:
    """What went wrong, one line each."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_judge, cases))
    return [line for lines in found for line in lines]


def _judge(case: Case) -> list[str]:
    problems = []
    with tempfile.TemporaryDirectory(prefix="rnnverify-corpus-") as name:
        folder = Path(name) / case.folder.name
        shutil.copytree(case.folder, folder, symlinks=True)
        missing = _set_up(case, folder)
        if missing:
            return [f"{case.id}: {missing}"]
        before = _listing(folder)
        for command in COMMANDS:
            sides = [case.facts["main_file"]]
            if command[0] == "compare":
                sides = sides * 2 if "second_file" not in case.facts else [*sides, case.facts["second_file"]]
                if "input_file" in case.facts:
                    command = [*command, "--inputs", case.facts["input_file"]]
            elif "input_file" in case.facts:
                continue  # the model is good, its inputs are not: inspect reads none
            problems += [f"{case.id}: {command[0]}: {found}" for found in _run(command, sides, folder, case)]
            if _listing(folder) != before:
                problems.append(f"{case.id}: {command[0]} changed the files beside it")
            if PWNED.exists():
                problems.append(f"{case.id}: {command[0]} EXECUTED what the file holds ({PWNED} was made)")
                PWNED.unlink()
    return problems


def _set_up(case: Case, folder: Path) -> str:
    """Make what copies lose: a pipe, a link. Nothing of `setup` is handed to a shell."""
    for line in case.facts.get("setup") or ():
        words = line.split()
        if words[0] == "mkfifo" and len(words) == 2:
            if not (folder / words[1]).exists():
                os.mkfifo(folder / words[1])
        elif words[:2] == ["ln", "-s"] and len(words) == 4:
            (folder / words[3]).unlink(missing_ok=True)
            (folder / words[3]).symlink_to(words[2])
        else:
            return f"does not know how to {line!r}"
    return ""


def _listing(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def _run(command: list[str], sides: list[str], folder: Path, case: Case) -> list[str]:
    began = time.monotonic()
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(
            [sys.executable, "-m", "rnnverify", *command, "--", *sides],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        usage = None
        while usage is None:
            pid, status, found = os.wait4(child.pid, os.WNOHANG)
            if pid:
                usage, child.returncode = found, os.waitstatus_to_exitcode(status)
            elif time.monotonic() - began > SECONDS:
                child.kill()
                child.wait()
                return [f"did not end within {SECONDS:g} s"]
            else:
                time.sleep(0.02)
        err.seek(0)
        said = err.read().decode("utf-8", "replace").strip()
    return list(_problems(child.returncode, said, usage.ru_maxrss * 1024, CODES[case.facts["expect"]]))


def _problems(code: int, said: str, memory: int, wanted: set[int]) -> list[str]:
    found = []
    if "Traceback" in said:
        found.append(f"a traceback: {said.splitlines()[-1]}")
    elif code == 2 and (said.count("\n") or not said.startswith("error: ")):
        found.append(f"not one sentence: {said!r}")
    if code not in wanted:
        names = " or ".join(map(str, sorted(wanted)))
        found.append(f"exit code {code}, wanted {names}: {said or 'nothing was said'}")
    if memory > MEMORY:
        found.append(f"took {memory / 2**20:.0f} MiB")
    return found
