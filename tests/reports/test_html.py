"""The HTML report: one file, no script, no request, and names of files are text in it."""

import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from comparisons import DIFFERENT, EQUIVALENT, THREE, named

from rnnverify.errors import MismatchError, OptionError
from rnnverify.reports import comparison_report
from rnnverify.reports.named import Named

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
    assert len(drawings) == 3  # by step, by unit and step, shares of the budget
    for drawing in drawings:
        ElementTree.fromstring(drawing.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))
        assert "currentColor" in drawing and "#010203" not in drawing
    assert text == comparison_report("html").render(DIFFERENT)


def test_nothing_is_requested_or_run() -> None:
    pytest.importorskip("matplotlib", reason="it is an extra")
    from rnnverify.reports import html

    results = [
        Named(HOSTILE, named(HOSTILE)),
        Named("a", THREE),
        Named("b", EQUIVALENT),
        Named(HOSTILE, MismatchError(HOSTILE)),
    ]
    page = Page(html.render_many(results))
    assert "svg" in page.tags and not {"script", "iframe", "object", "form"} & set(page.tags)
    assert page.tags.count("img") == 0 and not page.handlers
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
