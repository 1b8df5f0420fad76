"""Ratios of whole commands, measured side by side in one run: python tests/bench/compare.py [ROUNDS]

Each command is run in turn, round after round, and the medians of the ratios within a round are printed: a machine that
is slow for a while is slow for both. `scripts/` holds what people write by hand instead.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pairs import write_pairs

HERE = Path(__file__).parent
FIXTURES = HERE.parents[1] / "fixtures"
KERAS, TORCH, TENSORFLOW = (str(FIXTURES / name) for name in ("simple_rnn.h5", "rnn.pt", "basic_rnn_cell.ckpt"))
RNNVERIFY = [sys.executable, "-m", "rnnverify"]
COMMANDS = {
    "keras + torch script": [sys.executable, str(HERE / "script.py"), KERAS, TORCH],
    "keras script": [sys.executable, str(HERE / "script.py"), KERAS],
    "torch script": [sys.executable, str(HERE / "script.py"), TORCH],
    "script of the three": [sys.executable, str(HERE / "script.py"), KERAS, TORCH, TENSORFLOW],
    "compare keras torch": [*RNNVERIFY, "compare", KERAS, TORCH],
    "compare the three": [*RNNVERIFY, "compare", KERAS, TORCH, TENSORFLOW],
    "compare, reference": [*RNNVERIFY, "compare", KERAS, TORCH, TENSORFLOW, "--engine", "reference"],
    "rnnverify --help": [*RNNVERIFY, "--help"],
    "import typer": [sys.executable, "-c", "import typer"],
    "inspect": [*RNNVERIFY, "inspect", TORCH],
}
PAIRS = 200
RATIOS = [  # what, to what, wall or cpu, at most
    ("compare keras torch", "keras + torch script", "wall", 0.60),
    ("compare keras torch", "keras script", "wall", 0.90),
    ("compare the three", "script of the three", "wall", 0.65),
    ("compare, reference", "script of the three", "cpu", 1 / 14),
    ("rnnverify --help", "import typer", "cpu", 3.0),
    ("inspect", "import typer", "wall", 6.0),
    ("check of 200 pairs", "compare keras torch", "wall", 3.0),
]


def measure(command: list[str]) -> dict[str, float]:
    """Wall and processor seconds of one run, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "COLUMNS": "100"})
        if done.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{output.read().decode()}")
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall": wall, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def main(rounds: int, folder: Path) -> None:
    write_pairs(folder, PAIRS)
    COMMANDS[f"check of {PAIRS} pairs"] = [*RNNVERIFY, "check", "--config", str(folder / "rnnverify.toml")]
    for command in COMMANDS.values():  # bytecode and the disk cache
        measure(command)
    seen = [{name: measure(command) for name, command in COMMANDS.items()} for _ in range(rounds)]
    print(f"{'':24}{'wall s':>8}{'cpu s':>8}   median of {rounds}")
    for name in COMMANDS:
        wall, cpu = (statistics.median(r[name][k] for r in seen) for k in ("wall", "cpu"))
        print(f"{name:24}{wall:8.2f}{cpu:8.2f}")
    print()
    for what, base, kind, limit in RATIOS:
        ratio = statistics.median(r[what][kind] / r[base][kind] for r in seen)
        mark = "" if ratio <= limit else "   <- above"
        print(f"{what} / {base}, {kind}: {ratio:.3f} (at most {limit:.3f}){mark}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, Path(made))
