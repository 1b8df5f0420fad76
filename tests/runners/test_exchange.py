"""What runners share, where it needs no framework."""

import importlib
import sys
from pathlib import Path

import pytest

import rnnverify


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("expected ndim=3, found ndim=4. Full shape received: (None, 5)", "ValueError: expected ndim=3, found ndim=4"),
        ("one line\nand another", "ValueError: one line"),
        ("version 2.15.1 is too old", "ValueError: version 2.15.1 is too old"),
        ("word " * 40, "ValueError: " + "word " * 24 + "..."),
        ("", "ValueError: "),
    ],
)
def test_an_error_in_a_line(monkeypatch: pytest.MonkeyPatch, said: str, shown: str) -> None:
    monkeypatch.syspath_prepend(str(Path(rnnverify.__file__).parent / "runners"))
    exchange = importlib.import_module("exchange")
    assert exchange.in_a_line(ValueError(said)) == shown
    sys.modules.pop("exchange")
