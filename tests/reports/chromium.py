"""A page in a real headless Chromium, spoken to over its DevTools pipe: JSON messages, each ended by a NUL."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
)
_LONGEST = 60.0  # seconds


def find() -> str | None:
    """The browser of this machine, if it has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Page:
    """One page: what it said and asked for since it was opened."""

    to: Any
    answers: Iterator[dict[str, Any]]
    session: str = ""
    complaints: list[str] = field(default_factory=list)  # console messages, exceptions, broken policies
    requests: list[str] = field(default_factory=list)  # addresses that were asked for
    count: int = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol, and note what happens until its answer."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        self.to.write(json.dumps(message | ({"sessionId": self.session} if self.session else {})).encode() + b"\0")
        self.to.flush()
        for answer in self.answers:
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)
        raise AssertionError("the browser has gone")

    def _note(self, event: dict[str, Any]) -> None:
        name, what = event.get("method"), event.get("params", {})
        if name in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(what))
        elif name == "Log.entryAdded":
            self.complaints.append(what["entry"]["text"])
        elif name == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])

    def open(self, path: Path, *, width: int = 1100, dark: bool = False) -> None:
        """Open a file as a window of `width` shows it, a phone's where it is narrow, and wait until all is there."""
        self.complaints.clear()
        self.requests.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.as_uri())
        end = time.monotonic() + _LONGEST
        while self.ask("document.readyState + location.href") != "complete" + path.as_uri():
            assert time.monotonic() < end, "the page does not load"
            time.sleep(0.05)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def screenshot(self, path: Path) -> bytes:
        """The whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path.read_bytes()


@contextmanager
def browser(program: str) -> Iterator[Page]:
    """A page of a browser of its own, with an empty profile, that is ended afterwards."""
    their_in, to = os.pipe()
    back, their_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # the browser reads messages from descriptor 3 and writes to 4
        script = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        arguments = [program, *QUIET, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        if sys.platform == "linux" and os.geteuid() == 0:
            arguments.insert(1, "--no-sandbox")  # it has none for root
        child = subprocess.Popen(
            ["bash", "-c", script, "bash", str(their_in), str(their_out), *arguments],
            pass_fds=(their_in, their_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        try:
            with os.fdopen(to, "wb") as writer, os.fdopen(back, "rb") as reader:
                page = Page(writer, _messages(reader))
                pages = page.call("Target.getTargets")["targetInfos"]
                target = next(each["targetId"] for each in pages if each["type"] == "page")
                page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
                for domain in ("Page", "Runtime", "Log", "Network"):
                    page.call(f"{domain}.enable")
                yield page
        finally:
            child.kill()
            child.wait()


def _messages(reader: Any) -> Iterator[dict[str, Any]]:
    rest = b""
    while piece := reader.read1(2**16):
        *whole, rest = (rest + piece).split(b"\0")
        yield from map(json.loads, whole)
