"""Headless Chromium for tests: what a page becomes in it, what it looks like, what it asks for."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from chromium import find_browser

# No sandbox, because tests often run as root in a container; the pages are our own.
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--enable-logging=stderr",
    # Even so the browser would ask its maker for updates; no name leads anywhere here.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
# What the network log gives as the origin of what the browser asks for on its own account.
_BROWSER_ITSELF = "not an origin"
_SECONDS = 60


@dataclass(frozen=True)
class Visit:
    """What came of opening a page."""

    html: str
    """The document as the page's script left it."""

    console: tuple[str, ...]
    """Lines that the page, or the browser about it, wrote to the console."""

    requests: tuple[str, ...]
    """Addresses outside that the page asked for, from the browser's log of the network."""


def visit(page: Path, fragment: str = "") -> Visit:
    """Open a page and return what it became."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "network.json"
        run = _run(Path(folder), f"--log-net-log={log}", "--dump-dom", _address(page, fragment))
        lines = tuple(line for line in run.stderr.splitlines() if "CONSOLE" in line)
        return Visit(run.stdout, lines, _requests(log))


def screenshot(page: Path, image: Path, width: int, height: int, *, dark: bool = False) -> None:
    """Write a PNG of a page as it looks in a window of `width` x `height` pixels."""
    with tempfile.TemporaryDirectory() as folder:
        _run(
            Path(folder),
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--window-size={width},{height}",
            f"--screenshot={image}",
            _address(page, ""),
        )


def _address(page: Path, fragment: str) -> str:
    return page.resolve().as_uri() + (f"#{fragment}" if fragment else "")


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [find_browser(), *_FLAGS, f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=_SECONDS, check=True
    )


def _requests(log: Path) -> tuple[str, ...]:
    content = json.loads(log.read_text(encoding="utf-8"))
    started = (event.get("params", {}) for event in content["events"])
    asked = (p["url"] for p in started if p.get("initiator", _BROWSER_ITSELF) != _BROWSER_ITSELF)
    return tuple(sorted({url for url in asked if url.startswith(("http", "ws", "ftp"))}))
