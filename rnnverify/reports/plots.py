"""The plots of the HTML report, drawn by matplotlib as SVG: no script, text in the colour of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from rnnverify.comparison import Comparison, Pair, TensorDifference
from rnnverify.rounding import FIRST_SHARE, SHARE_BINS

_INK = "#010203"  # stands for currentColor, which matplotlib does not know
_TENSORS_DRAWN = 6  # of a pair, that differ
_LINES = ("#1f77b4", "#d95f02", "#2ca02c", "#9467bd", "#8c564b", "#e377c2")  # legible on white and on black


def plots(result: Comparison) -> Iterator[tuple[str, str]]:
    """Each plot as a title and an SVG element; those whose numbers are not in the result are left out."""
    yield "Deviation by step", _svg("steps", partial(_by_step, result=result))
    for pair in result.pairs:
        name = f"{pair.candidate} against {pair.baseline}"
        if pair.heat and any(value != 0 for row in pair.heat.rows for value in row):
            title = f"Deviation by unit and step (blank: none, or not finite), {name}"
            yield title, _svg(f"heat {name}", partial(_heat, pair=pair))
        for tensor in [tensor for tensor in pair.tensors if tensor.map][:_TENSORS_DRAWN]:
            title = f"Weights side by side: {tensor.name}, {name}"
            yield title, _svg(title, partial(_weights, pair=pair, tensor=tensor), columns=2)
        if any(budget and budget.shares for budget in pair.budgets):
            title = f"States by the share of the rounding budget they use, {name}"
            yield title, _svg(f"shares {name}", partial(_shares, pair=pair))


def _by_step(axes: Any, result: Comparison) -> None:
    for k, pair in enumerate(result.pairs):
        deviation = np.array(pair.headline.deviation.by_step)
        drawn = np.where(np.isfinite(deviation) & (deviation > 0), deviation, np.nan)
        label = f"{pair.candidate} - {pair.baseline}"
        axes.plot(np.arange(len(drawn)), drawn, marker=".", color=_LINES[k % len(_LINES)], label=label)
    if any(value > 0 for pair in result.pairs for value in pair.headline.deviation.by_step):
        axes.set_yscale("log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("stretch of time, first to last")
    axes.set_ylabel("largest |deviation|")
    axes.legend(frameon=False, labelcolor=_INK)


def _heat(axes: Any, pair: Pair) -> None:
    assert pair.heat
    cells = np.array(pair.heat.rows, dtype=np.float64)
    size = np.log10(np.where(np.isfinite(cells) & (cells > 0), cells, np.nan))
    shown = axes.imshow(
        np.ma.masked_invalid(size),
        aspect="auto",
        interpolation="nearest",
        cmap="viridis",
        extent=(0, pair.heat.steps, pair.heat.units, 0),
    )
    if np.isfinite(size).any():
        _bar(shown, axes, "log10 |deviation|")
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("step")
    axes.set_ylabel("unit")


def _weights(both: Any, pair: Pair, tensor: TensorDifference) -> None:
    """The entries of both sides on one scale, blue below zero and red above."""
    assert tensor.map
    cells = [np.array(side, dtype=np.float64) for side in (tensor.map.baseline, tensor.map.candidate)]
    largest = max(float(np.abs(side).max()) for side in cells) or 1.0
    rows, columns = tensor.map.shape
    for axes, side, label in zip(both, cells, (pair.baseline, pair.candidate), strict=True):
        shown = axes.imshow(
            side,
            aspect="auto",
            interpolation="nearest",
            cmap="RdBu_r",
            vmin=-largest,
            vmax=largest,
            extent=(0, columns, rows, 0),
        )
        axes.set_title(label, fontsize=11)
    _bar(shown, both, "")


def _bar(shown: Any, axes: Any, label: str) -> None:
    """The scale of an image, beside one or several axes."""
    bar = shown.figure.colorbar(shown, ax=axes)
    bar.set_label(label, color=_INK)
    bar.ax.tick_params(colors=_INK)
    bar.outline.set_edgecolor(_INK)


def _shares(axes: Any, pair: Pair) -> None:
    both = zip((pair.baseline, pair.candidate), pair.budgets, strict=True)
    known = [(label, budget) for label, budget in both if budget and budget.shares]
    left = np.arange(SHARE_BINS) + FIRST_SHARE
    for k, (label, budget) in enumerate(known):
        x = left + k / len(known) - 1 + 0.5 / len(known)  # bin k ends at 2^(k + FIRST_SHARE)
        axes.bar(x, budget.shares, width=0.9 / len(known), color=_LINES[k], label=label)
    axes.axvline(0, color=_INK, linestyle="--", linewidth=1)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_xlabel("log2 of the share used; right of 0 rounding does not explain it")
    axes.set_ylabel("states")
    axes.legend(frameon=False, labelcolor=_INK)


def _svg(name: str, draw: Callable[[Any], None], columns: int = 1) -> str:
    """What `draw` draws, as one SVG element that scales with the page. `name` keeps the ids of several apart.

    `draw` is given the axes, or a row of as many as there are `columns`.
    """
    import matplotlib as mpl  # an extra: imported where something is drawn
    from matplotlib.figure import Figure

    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif", "font.size": 11}
    with mpl.rc_context({**settings, "text.color": _INK, "axes.edgecolor": _INK, "axes.labelcolor": _INK}):
        figure = Figure(figsize=(5.4, 3.2), layout="constrained")
        row = figure.subplots(1, columns, squeeze=False)[0]
        for axes in row:
            axes.set_facecolor("none")
            axes.tick_params(which="both", colors=_INK)
        draw(row if columns > 1 else row[0])
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True)
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', text, count=1)
    return text.replace(_INK, "currentColor")
