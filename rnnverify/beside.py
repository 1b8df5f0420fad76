"""`--report FORMAT=FILE`: the reports that are written to files beside the one of `--format`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from rnnverify.comparison import Comparison
from rnnverify.errors import OptionError, RnnverifyError, printable
from rnnverify.output import write_whole
from rnnverify.reports import ComparisonFormat, ComparisonReport, comparison_report

if TYPE_CHECKING:
    from rnnverify.check import Checked

_WIDTH = 100


class Beside:
    """The reports that were asked for. Their formats are imported before anything is run, and written last."""

    def __init__(self, given: Sequence[str]) -> None:
        self._given = given
        self._files: list[tuple[ComparisonFormat, Path]] = []

    def prepare(self, output: Path | None) -> None:
        """Take the options apart. Raises OptionError; what was sound before that is kept, and told of the error."""
        taken = {output.resolve()} if output else set()
        for given in self._given:
            name, equals, path = given.partition("=")
            formats = get_args(ComparisonFormat)
            if not (equals and path) or name not in formats:
                raise OptionError(f"--report {printable(given)}: wanted FORMAT=FILE with one of {', '.join(formats)}")
            if Path(path).resolve() in taken:
                raise OptionError(f"--report {printable(given)}: another report goes to that file too")
            taken.add(Path(path).resolve())
            format = cast(ComparisonFormat, name)
            comparison_report(format)
            self._files.append((format, Path(path)))

    def made(self, result: Comparison) -> None:
        """Write the reports of a comparison, after all of them are rendered. Raises OutputError."""
        self._write(lambda module: module.render(result, width=_WIDTH))

    def checked(self, found: Checked) -> None:
        """Write the reports of a whole check, after all of them are rendered. Raises OutputError."""
        from rnnverify.reports.checked import render  # what `check` alone needs is not imported for `compare`

        self._put([(path, render(found, name, width=_WIDTH)) for name, path in self._files])

    def failed(self, error: RnnverifyError) -> None:
        """Write the reports of a comparison that could not be made. Raises OutputError."""
        self._write(lambda module: module.render_error(error) or f"error: {error}\n")

    def _write(self, render: Callable[[ComparisonReport], str]) -> None:
        self._put([(path, render(comparison_report(name))) for name, path in self._files])

    def _put(self, texts: Sequence[tuple[Path, str]]) -> None:
        for path, text in texts:
            content = text.encode("utf-8", "backslashreplace")
            write_whole(path, lambda file, content=content: file.write(content), "--report")  # type: ignore[misc]  # a default binds it
