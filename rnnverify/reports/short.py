"""A comparison in a few plain lines, for the failure message of a test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rnnverify.comparison import Comparison


def lines(result: Comparison, names: Sequence[str]) -> Iterator[str]:
    """The verdict, what was compared under which assumptions, and of each pair the deviation and the reasons."""
    yield f"{result.verdict}: {', '.join(f'{s.label} {name}' for s, name in zip(result.sides, names, strict=True))}"
    for side in result.sides:
        yield from (f"  {side.label} assumed: {text}" for text in side.assumptions)
    for pair in result.pairs:
        worst = pair.headline.deviation
        size = "not a number" if any(worst.nonfinite) else f"{worst.max_abs:.2g}"
        sequence, step, unit = worst.at
        where = f"sequence {sequence}, step {step}, unit {unit}"
        yield f"  {pair.candidate}-{pair.baseline} {pair.verdict}: maximum deviation {size} at {where}"
        yield from (f"    {reason}" for reason in pair.reasons)
