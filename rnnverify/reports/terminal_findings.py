"""The mistakes behind a difference, as the terminal report shows them: what, where, how sure, and what to change."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from rnnverify.comparison import Pair
from rnnverify.reports.words import evidence, mistake, remedy, wrong

_LINES_SHOWN = 7
_WIDE = 74  # columns of code; longer lines are folded where Python lets them be
_CALL = re.compile(r"(.*?(?:from_numpy|assign|load)\()(.*)")
_STYLES = {"certain": "bold red", "confirmed": "bold red", "suspected": "bold yellow"}


def findings(pair: Pair) -> Iterator[RenderableType]:
    """A block for the mistakes of one pair; nothing where none was named."""
    if not pair.findings:
        return
    yield Text()
    yield Text.assemble((wrong(pair), "bold"), f", in {pair.candidate} against {pair.baseline}")
    for finding in pair.findings:
        head = Text.assemble((finding.proof, _STYLES[finding.proof]), f"  {mistake(finding)}")
        yield Padding(head, (0, 0, 0, 2))
        yield Padding(Text(finding.advice, style="dim"), (0, 0, 0, 4))
        for line in remedy(finding, _LINES_SHOWN):
            yield from (Padding(Text(part), (0, 0, 0, 4)) for part in _folded(line))
    yield Padding(Text(evidence(pair.findings)), (0, 0, 0, 2))


def _folded(line: str) -> list[str]:
    found = _CALL.fullmatch(line) if len(line) > _WIDE else None
    return [found[1], f"    {found[2]}"] if found else [line]
