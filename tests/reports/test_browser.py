"""The HTML report in a real browser: nothing is asked for, nothing complains, the plots are drawn, on a phone too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest
from comparisons import DIFFERENT, EQUIVALENT, THREE

from rnnverify.reports.named import Named, Problem

pytest.importorskip("matplotlib", reason="it is an extra")

RESULTS = [
    Named("encoder", DIFFERENT),
    Named("a/very-long-name-without-a-space-" * 3, EQUIVALENT),
    Named("three", THREE),
    Named("gone", Problem("file", "model.pt: there is no such file; give another")),
]


@pytest.fixture(scope="module")
def page() -> Iterator[chromium.Page]:
    program = chromium.find()
    if program is None:
        words = f"no Chromium on this machine: none of {', '.join(chromium.NAMES)} is a program here"
        (pytest.fail if os.environ.get("CHROMIUM") == "required" else pytest.skip)(words)
    with chromium.browser(program) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rnnverify.reports.html import render_many

    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_many(RESULTS), encoding="utf-8")
    return path


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots go: to SCREENSHOTS for who wants to look at them."""
    folder = Path(os.environ.get("SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1100, 390], ids=["wide", "phone"])
def test_the_report_opens(page: chromium.Page, report: Path, shots: Path, width: int, dark: bool) -> None:
    page.open(report, width=width, dark=dark)
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith("data:")] == [report.as_uri()]
    assert page.ask("document.title") == "rnnverify: 1 passed, 3 failed"
    drawn = page.ask(
        "[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect()).map(r => [r.width, r.height])"
    )
    assert len(drawn) >= 3 and all(w > 0.9 * min(width - 32, 672) and h > 100 for w, h in drawn)
    assert page.ask("document.documentElement.scrollWidth") <= width  # what is wider scrolls by itself
    assert (page.ask("innerWidth"), page.ask("matchMedia('(prefers-color-scheme: dark)').matches")) == (width, dark)
    words = "[...document.querySelectorAll('td:not(:last-child)')].filter(cell => cell.scrollWidth > cell.clientWidth)"
    assert page.ask(f"{words}.length") == 0
    background, text = (page.ask(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    assert (brightness(text) > 128) == dark and "rgb" in background
    name = f"{'phone' if width < 600 else 'wide'}-{'dark' if dark else 'light'}.png"
    assert len(page.screenshot(shots / name)) > 10_000


def brightness(color: str) -> float:
    numbers = [float(each) for each in color[color.index("(") + 1 : -1].split(",")[:3]]
    return sum(numbers) / 3


def test_what_a_page_says_and_asks_for_is_noticed(page: chromium.Page, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<img src='missing.png'><script>console.log('hello'); nothing.at.all()</script>")
    page.open(path)
    assert any("hello" in said for said in page.complaints) and any("nothing" in said for said in page.complaints)
    assert any(url.endswith("missing.png") for url in page.requests)
