"""The mistakes behind a difference, as the terminal report shows them: what, where, how sure, and what to change."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from rnnverify.comparison import Pair
from rnnverify.finding import Finding

_STYLES = {"certain": "bold red", "confirmed": "bold red", "suspected": "bold yellow"}


def findings(pair: Pair) -> Iterator[RenderableType]:
    """A block for the mistakes of one pair; nothing where none was named."""
    if not pair.findings:
        return
    yield Text()
    one = len(pair.findings) == 1
    title = "What went wrong" if one else f"What went wrong: {len(pair.findings)} mistakes at once"
    yield Text.assemble((title, "bold"), f", in {pair.candidate} against {pair.baseline}")
    for finding in pair.findings:
        where = f" ({finding.where})" if finding.where else ""
        head = Text.assemble((finding.proof, _STYLES[finding.proof]), f"  {finding.side}: {finding.name}{where}")
        yield Padding(head, (0, 0, 0, 2))
        yield Padding(Text(finding.advice, style="dim"), (0, 0, 0, 4))
    yield Padding(Text(_evidence(pair.findings[0], one)), (0, 0, 0, 2))


def _evidence(finding: Finding, one: bool) -> str:
    """What undoing the mistakes leaves of the deviation, and why that is sure."""
    why = {
        "certain": "the weights show it, number for number",
        "confirmed": "rounding explains what remains",
        "suspected": "nothing proves it",
    }[finding.proof]
    if finding.before is None or finding.after is None:
        return why
    undone = "undone" if one else "all undone"
    return f"{undone}, the deviation falls from {finding.before:.2g} to {finding.after:.2g}; {why}"
