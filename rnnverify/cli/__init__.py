"""The command line: parse, call one function, print one string, exit. One module for each command."""

from __future__ import annotations

import gc
import os
import signal
import sys

from rnnverify.cli.commands import app

__all__ = ["app", "main"]


def _end(signal_number: int, _: object) -> None:
    """A polite end: the runners are stopped and their folder removed on the way out."""
    raise SystemExit(128 + signal_number)


def main() -> None:
    """The `rnnverify` command."""
    gc.disable()  # short-lived, and what is large is freed by reference counts
    # one BLAS thread: OpenBLAS burns more at its start than a second thread gives beside two busy runners
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _end)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console without block characters prints ? instead of failing
    app()
