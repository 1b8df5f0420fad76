"""The HTML report: one file, no script, no request, and names of files are text in it."""

import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from comparisons import DIFFERENT, EQUIVALENT, THREE, named

from rnnverify.errors import OptionError
from rnnverify.reports import comparison_report
from rnnverify.reports.named import Named, Problem

HOSTILE = "</title><script>alert(1)</script><img src=http://x.example/a.png onerror=alert(1)> & \x00\ud800 $x$"


class Page(HTMLParser):
    """What a page holds: its tags, and every address in an attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.handlers += [name] * name.startswith("on")
            if name.endswith(("href", "src", "data", "action")):
                self.addresses.append(str(value))


def test_without_matplotlib_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rnnverify.reports.html", "rnnverify.reports.plots"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OptionError, match=r"needs matplotlib: pip install 'rnnverify\[html\]'"):
        comparison_report("html")


def test_everything_is_on_one_page() -> None:
    pytest.importorskip("matplotlib", reason="it is an extra")
    text = comparison_report("html").render(DIFFERENT)
    assert '<span class="bad">DIFFERENT</span>' in text and "prefers-color-scheme: dark" in text
    assert all(words in text for words in ("The square", "Weights side by side", "40 of 40", "seed 0", "keras"))
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert len(drawings) == 5  # the square, weights, by step, by unit and step, shares of the budget
    for drawing in drawings:
        ElementTree.fromstring(drawing.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))
        assert "currentColor" in drawing and "#010203" not in drawing
    assert text == comparison_report("html").render(DIFFERENT)


def test_the_square_shows_its_four_edges() -> None:
    pytest.importorskip("matplotlib", reason="it is an extra")
    text = comparison_report("html").render(THREE)
    squares = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg[^>]*aria-label.*?</svg>", text)]
    words = [[str(element.text) for element in square.iter("text")] for square in squares]
    assert len(words) == 2
    assert {"headline", "1.2e-07", "arithmetic of A", "8.0e-08", "weights", "0", "arithmetic of B", "6.0e-08"} <= {
        *words[0]
    }
    assert {"keras", "torch", "float64 reference", "states A", "A*", "B*"} <= {*words[0]}
    assert words[1].count("not known") == 2 and "recorded" in words[1]


def test_of_many_the_failures_are_open_and_few_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="it is an extra")
    from rnnverify.reports import html

    monkeypatch.setattr(html, "_DRAWN", 1)
    results = [Named("a", EQUIVALENT), Named("b", DIFFERENT), Named("c", Problem("file", "gone"))]
    text = html.render_many(results)
    assert [len(re.findall("<figcaption", part)) for part in text.split("<details")[1:]] == [0, 4, 0]
    assert re.findall(r'<details id="(c\d)"( open)?>', text) == [("c0", ""), ("c1", " open"), ("c2", " open")]
    assert text.count("Plots are drawn of 1 comparisons") == 1 and text.count('<a href="#c') == 3


def test_nothing_is_requested_or_run() -> None:
    pytest.importorskip("matplotlib", reason="it is an extra")
    from rnnverify.reports import html

    results = [
        Named(HOSTILE, named(HOSTILE)),
        Named("a", THREE),
        Named("b", EQUIVALENT),
        Named(HOSTILE, Problem("mismatch", HOSTILE)),
    ]
    page = Page(html.render_many(results))
    assert "svg" in page.tags and not {"script", "iframe", "object", "form"} & set(page.tags)
    assert page.tags.count("img") == 0 and not page.handlers
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
