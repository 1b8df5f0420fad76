"""The square of a pair, drawn: two runs, two readings of the files run by the reference, and the four distances.

Hand-written SVG: four boxes and four edges, text in the colour of the page.
"""

from __future__ import annotations

from html import escape

from rnnverify.comparison import Pair, Side
from rnnverify.reports.named import plain
from rnnverify.reports.words import number

_WIDTH, _HEIGHT = 400, 190
_BOX = (104, 44)
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 346, 30, 158  # where the centres of the boxes are


def drawing(pair: Pair, baseline: Side, candidate: Side) -> str:
    """One SVG element; an edge whose distance is not known says so."""
    a, b = pair.baseline, pair.candidate
    parts = [
        _line(_LEFT, _TOP, _RIGHT, _TOP, heavy=True),
        _line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM),
        _line(_LEFT, _TOP, _LEFT, _BOTTOM),
        _line(_RIGHT, _TOP, _RIGHT, _BOTTOM),
        _box(_LEFT, _TOP, f"states {a}", _ran(baseline)),
        _box(_RIGHT, _TOP, f"states {b}", _ran(candidate)),
        _box(_LEFT, _BOTTOM, f"{a}*", "float64 reference"),
        _box(_RIGHT, _BOTTOM, f"{b}*", "float64 reference"),
        _label(_WIDTH / 2, _TOP, "middle", "headline", pair.headline.deviation.max_abs, bold=True),
        _label(_WIDTH / 2, _BOTTOM, "middle", "weights", pair.weights),
        _label(_LEFT + 8, (_TOP + _BOTTOM) / 2, "start", f"arithmetic of {a}", pair.implementation_baseline),
        _label(_RIGHT - 8, (_TOP + _BOTTOM) / 2, "end", f"arithmetic of {b}", pair.implementation_candidate),
    ]
    words = f"The square of {a} and {b}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{_text(words)}" font-size="12" '
        f'font-family="sans-serif" fill="currentColor">{"".join(parts)}</svg>'
    )


def _ran(side: Side) -> str:
    return {"native": side.framework, "trace": "recorded"}.get(side.engine, "float64 reference")


def _line(x1: float, y1: float, x2: float, y2: float, heavy: bool = False) -> str:
    return f'<path d="M{x1} {y1}L{x2} {y2}" stroke="currentColor" stroke-width="{2 if heavy else 1}"/>'


def _box(x: float, y: float, title: str, below: str) -> str:
    """Two lines in a box that hides the edges behind it in light and in dark."""
    width, height = _BOX
    return (
        f'<rect x="{x - width / 2}" y="{y - height / 2}" width="{width}" height="{height}" rx="4" '
        f'style="fill: Canvas" stroke="currentColor"/>'
        f'<text x="{x}" y="{y - 3}" text-anchor="middle" font-weight="bold">{_text(title)}</text>'
        f'<text x="{x}" y="{y + 13}" text-anchor="middle" font-size="11">{_text(below)}</text>'
    )


def _label(x: float, y: float, anchor: str, name: str, value: float | None, bold: bool = False) -> str:
    """What an edge is called, above the line, and its length below."""
    weight = ' font-weight="bold"' if bold else ""
    size = "not known" if value is None else "not a number" if value != value else number(value)
    return (
        f'<text x="{x}" y="{y - 5}" text-anchor="{anchor}"{weight}>{_text(name)}</text>'
        f'<text x="{x}" y="{y + 15}" text-anchor="{anchor}"{weight}>{size}</text>'
    )


def _text(text: str) -> str:
    return escape(plain(text))
