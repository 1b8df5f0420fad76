"""Is the recurrent network you moved to another framework still the same network?

    import rnnverify

    result = rnnverify.compare("model.h5", "model.pt")
    assert result.verdict in ("IDENTICAL", "EQUIVALENT"), result.pairs[0].reasons

`compare` returns a frozen `Comparison`; `run` records a `Trace`; `inspect` tells what a file holds; `convert` writes
a network in another framework's layout. What could not be done raises an `RnnverifyError`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rnnverify.assumptions import Assumed
    from rnnverify.comparison import Comparison
    from rnnverify.conversion import Conversion, convert
    from rnnverify.deviation import Tolerance
    from rnnverify.errors import RnnverifyError
    from rnnverify.fixing import write_fixed
    from rnnverify.inputs import InputOptions
    from rnnverify.inspection import Inspection, inspect
    from rnnverify.options import Options
    from rnnverify.record import run
    from rnnverify.runner_process import Limits
    from rnnverify.trace import Trace
    from rnnverify.verify import compare

_HOMES = {
    "Assumed": "assumptions",
    "Comparison": "comparison",
    "Conversion": "conversion",
    "InputOptions": "inputs",
    "Inspection": "inspection",
    "Limits": "runner_process",
    "Options": "options",
    "RnnverifyError": "errors",
    "Tolerance": "deviation",
    "Trace": "trace",
    "compare": "verify",
    "convert": "conversion",
    "inspect": "inspection",
    "run": "record",
    "write_fixed": "fixing",
}

__all__ = [
    "Assumed",
    "Comparison",
    "Conversion",
    "InputOptions",
    "Inspection",
    "Limits",
    "Options",
    "RnnverifyError",
    "Tolerance",
    "Trace",
    "compare",
    "convert",
    "inspect",
    "run",
    "write_fixed",
]


def __getattr__(name: str) -> Any:
    # on demand, because `rnnverify --help` must not wait for NumPy
    if name not in _HOMES:
        raise AttributeError(f"module 'rnnverify' has no attribute {name!r}")
    return getattr(import_module(f"rnnverify.{_HOMES[name]}"), name)
