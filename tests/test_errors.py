"""Messages are one line, whatever the names in them hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.errors import (
    FileError,
    InputsError,
    MismatchError,
    OptionError,
    RnnverifyError,
    RunnerError,
    SelectorError,
    UnsupportedError,
    printable,
)


def test_a_file_error_says_where_what_and_what_to_do() -> None:
    assert str(FileError("a.h5", "is truncated", "save it again")) == "a.h5: is truncated; save it again"
    assert str(FileError("a.h5", "is truncated")) == "a.h5: is truncated"


def test_control_characters_are_escaped() -> None:
    assert printable("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert printable("Größe [red]") == "Größe [red]"


def test_long_names_are_cut() -> None:
    assert printable("a" * 200) == "a" * 200
    assert printable("a" * 201) == "a" * 199 + "…"


@given(st.text(), st.integers(1, 300))
def test_printable_is_one_printable_line(text: str, limit: int) -> None:
    line = printable(text, limit)
    assert line.isprintable() and len(line) <= limit


@given(st.text(max_size=50))
def test_a_path_cannot_break_the_line(name: str) -> None:
    assert str(FileError(name, "is empty")).isprintable()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RnnverifyError("m"), "error"),
        (FileError("p", "m"), "file"),
        (UnsupportedError("p", "m"), "unsupported"),
        (SelectorError("p", "m"), "selector"),
        (MismatchError("m"), "mismatch"),
        (OptionError("m"), "option"),
        (InputsError("m"), "inputs"),
        (RunnerError("m"), "runner"),
    ],
)
def test_every_kind_is_named_and_caught_as_one(error: RnnverifyError, kind: str) -> None:
    assert error.kind == kind
    assert isinstance(error, RnnverifyError)
    assert isinstance(error, FileError) == (kind in ("file", "unsupported", "selector"))


def test_a_runner_error_keeps_its_traceback_out_of_the_message() -> None:
    error = RunnerError("b.pt: its runner failed", "Traceback ...")
    assert (str(error), error.details) == ("b.pt: its runner failed", "Traceback ...")
