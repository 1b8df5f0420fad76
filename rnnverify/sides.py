"""One argument of a comparison: `[FRAMEWORK:]PATH[#selector]`, a model file or a trace, taken apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from rnnverify.adapters import Reading, read_network
from rnnverify.canonical import Network
from rnnverify.containers import FORMS, Contents, FrameworkName, form_of, open_model
from rnnverify.errors import FileError, OptionError, printable
from rnnverify.lengths import Whole
from rnnverify.trace import Trace
from rnnverify.trace_file import is_trace, load

PREFIXES: dict[str, FrameworkName] = {
    "keras": "keras",
    "torch": "torch",
    "tf": "tensorflow",
    "flax": "flax",
    "equinox": "equinox",
    "onnx": "onnx",
}


@dataclass(frozen=True)
class Source:
    """An argument taken apart."""

    label: str  # "A", "B", ...
    given: str
    path: Path
    framework: FrameworkName | None  # as given by a prefix
    selector: str | None

    def __str__(self) -> str:
        return printable(self.given, 300)


@dataclass(frozen=True)
class Opened:
    """A source that has been read: a model with its canonical network, or a trace."""

    source: Source
    contents: Contents | None
    reading: Reading | None
    trace: Trace | None
    assumptions: tuple[str, ...] = ()
    masked: tuple[Whole, ...] = ()  # what was recorded with the steps that a mask leaves out of `trace`

    @property
    def network(self) -> Network | None:
        return self.reading.network if self.reading else None


def parse(given: str, label: str, folder: Path = Path()) -> Source:
    """Take an argument apart, its path being relative to `folder`. Raises OptionError.

    A path that exists as written is never split at `:` or `#`.
    """
    if exists(folder / given):
        return Source(label, given, folder / given, None, None)
    framework, rest = None, given
    prefix, colon, after = given.partition(":")
    if colon and prefix in PREFIXES:
        framework, rest = PREFIXES[prefix], after
    if not rest or rest.startswith("#"):
        raise OptionError(f"{given!r}: names no file")
    path, _, selector = (rest, "", "") if exists(folder / rest) else rest.partition("#")
    return Source(label, given, folder / path, framework, selector or None)


def exists(path: Path) -> bool:
    """Whether there is something at `path`, which may be no path at all."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL: `form_of` says what is wrong with it
        return False


def parse_all(given: Sequence[str], folder: Path = Path()) -> tuple[Source, ...]:
    """Label the sides A, B, C, ... in order, paths relative to `folder`. Raises OptionError beyond 26."""
    if len(given) > 26:
        raise OptionError(f"{len(given)} sides were given; at most 26 can be compared at once")
    return tuple(parse(text, chr(ord("A") + k), folder) for k, text in enumerate(given))


def is_recording(path: Path) -> bool:
    """Whether `path` holds what a model did: a trace, or a folder of ONNX's test data."""
    return is_trace(path) or is_test_data(path)


def is_test_data(path: Path) -> bool:
    """Whether `path` is a folder of ONNX's test data."""
    try:
        return path.is_dir() and (path / "input_0.pb").is_file()
    except (OSError, ValueError):
        return False


def _recording(path: Path) -> Trace:
    read: Callable[[Path], Trace] = load
    if is_test_data(path):
        read = import_module("rnnverify.onnx_data").load_test_data
    return read(path)


def framework_of(source: Source) -> FrameworkName | None:
    """Which framework will be asked to run `source`, told by its first bytes; None for a trace."""
    if is_recording(source.path):
        return None
    framework = source.framework or FORMS[form_of(source.path)][1]
    return framework or open_model(source.path).framework or "torch"  # names tell, where the form does not


def open_side(source: Source) -> Opened:
    """Read a model file or a trace. Raises FileError and its kinds."""
    if is_recording(source.path):
        if source.framework or source.selector:
            raise OptionError(f"{source}: a trace has neither a framework prefix nor a selector; give its path alone")
        return Opened(source, None, None, _recording(source.path))
    contents = open_model(source.path)
    reading = read_network(contents, source.framework, source.selector)
    for name, array in reading.network.tensors():
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            found = f"{name} holds {bad} weights that are NaN or infinite"
            raise FileError(source.given, found, "a network with such weights cannot be compared: repair the file")
    return Opened(source, contents, reading, None)
