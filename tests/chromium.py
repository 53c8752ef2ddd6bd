"""Where the browser is that the tests of pages drive."""

from __future__ import annotations

import shutil

import pytest


def find_browser() -> str:
    """Return the path of Chromium or Chrome; skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    return found
