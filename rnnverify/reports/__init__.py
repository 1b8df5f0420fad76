"""Formats: pure functions from a result to a string. One module per format, and a line in `FORMATS`."""

from __future__ import annotations

from importlib import import_module
from typing import Literal, Protocol, cast

from rnnverify.comparison import Comparison
from rnnverify.conversion import Conversion
from rnnverify.errors import RnnverifyError
from rnnverify.inspection import Inspection

FormatName = Literal["terminal", "json"]

FORMATS: dict[FormatName, str] = {"terminal": "rnnverify.reports.terminal", "json": "rnnverify.reports.json"}
"""Format to its module, imported when a report is written."""


class Report(Protocol):
    """What the module of a format offers; all end in a line break."""

    def render(self, result: Comparison, *, width: int = 80, color: bool = False) -> str:
        """A comparison that was made."""

    def render_error(self, error: RnnverifyError) -> str:
        """A comparison that could not be made; empty where the line on stderr is all there is to say."""

    def render_conversion(self, result: Conversion, *, width: int = 80, color: bool = False) -> str:
        """A network that was written in another framework's layout."""

    def render_inspection(self, result: Inspection, *, width: int = 80, color: bool = False) -> str:
        """What a file holds."""


def report(name: FormatName) -> Report:
    """The format of that name."""
    return cast(Report, import_module(FORMATS[name]))
