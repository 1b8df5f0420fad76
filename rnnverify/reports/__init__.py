"""Formats: pure functions from a result to a string. One module per format, and a line in `FORMATS`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, cast

from rnnverify.comparison import Comparison
from rnnverify.errors import OptionError, RnnverifyError
from rnnverify.inspection import Inspection
from rnnverify.reports.named import Named

if TYPE_CHECKING:  # it brings all that a comparison needs, and `inspect` does not
    from rnnverify.conversion import Conversion

FormatName = Literal["terminal", "json"]
ComparisonFormat = Literal["terminal", "json", "markdown", "junit", "sarif", "github", "html"]

FORMATS: dict[ComparisonFormat, str] = {
    "terminal": "rnnverify.reports.terminal",
    "json": "rnnverify.reports.json",
    "markdown": "rnnverify.reports.markdown",
    "junit": "rnnverify.reports.junit",
    "sarif": "rnnverify.reports.sarif",
    "github": "rnnverify.reports.github",
    "html": "rnnverify.reports.html",
}
"""Format to its module, imported when a report is written."""


class ComparisonReport(Protocol):
    """What the module of every format offers; all end in a line break.

    Those beside the terminal's and JSON also have `render_many`, of any number of `named.Named`, made or failed.
    """

    def render(self, result: Comparison, *, width: int = 80, color: bool = False) -> str:
        """A comparison that was made."""

    def render_error(self, error: RnnverifyError) -> str:
        """A comparison that could not be made; empty where the line on stderr is all there is to say."""


class ManyReport(ComparisonReport, Protocol):
    """A format that takes several comparisons."""

    def render_many(self, results: Sequence[Named]) -> str:
        """Several, each with its name."""


class Report(ComparisonReport, Protocol):
    """What the formats of every command offer beside."""

    def render_conversion(self, result: Conversion, *, width: int = 80, color: bool = False) -> str:
        """A network that was written in another framework's layout."""

    def render_inspection(self, result: Inspection, *, width: int = 80, color: bool = False) -> str:
        """What a file holds."""


def report(name: FormatName) -> Report:
    """The format of that name, for any command."""
    return cast(Report, import_module(FORMATS[name]))


def comparison_report(name: ComparisonFormat) -> ComparisonReport:
    """The format of that name, for a comparison. Raises OptionError where what draws it is not installed."""
    try:
        if name == "html":
            import_module("matplotlib")  # before anything is compared
        return cast(ComparisonReport, import_module(FORMATS[name]))
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise OptionError(f"a report as {name} needs matplotlib: pip install 'rnnverify[{name}]'") from error


def many_report(name: Literal["markdown", "junit", "sarif", "github", "html"]) -> ManyReport:
    """The format of that name, for several comparisons. Raises OptionError as `comparison_report`."""
    return cast(ManyReport, comparison_report(name))
