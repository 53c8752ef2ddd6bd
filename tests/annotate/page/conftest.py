"""A browser, servers and windows of the labelling page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from label_page import OpenWindow, Serve, Server, Window, launch

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Start servers, which end with the module."""
    for module in ("starlette", "uvicorn"):
        pytest.importorskip(module, reason="label")
    servers: list[Server] = []

    def start(folder: Path, *options: str) -> Server:
        servers.append(Server(folder, *options))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def open_window(browser: Browser) -> Iterator[OpenWindow]:
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
