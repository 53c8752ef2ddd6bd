"""What the tests of the labelling server share: its address, its token, and a shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.testclient import TestClient

TOKEN = "secret"
ADDRESS = "http://127.0.0.1:8123"

Connect = Callable[..., TestClient]
"""Serves a store, and returns a client that has the token."""


def box(identity: str = "s1", **values: Any) -> dict[str, Any]:
    """Return a shape as the page sends it."""
    return {"id": identity, "class": 0, "box": [10, 20, 40, 60], **values}
