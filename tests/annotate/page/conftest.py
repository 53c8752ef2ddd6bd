"""A browser, servers and windows of the labelling page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="label")
pytest.importorskip("uvicorn", reason="label")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from label_page import OpenWindow, Serve, Server, Window, launch  # noqa: E402


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Start servers, which end with the module."""
    servers: list[Server] = []

    def start(folder: Path, *options: str) -> Server:
        servers.append(Server(folder, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def open_window(browser: sync_api.Browser) -> Iterator[OpenWindow]:
    """Open windows that share their storage, as those of one browser do."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    windows: list[Window] = []

    def start(address: str) -> Window:
        windows.append(Window(context.new_page(), address))
        return windows[-1]

    yield start
    errors = [error for window in windows for error in window.errors]
    context.close()
    assert errors == []
