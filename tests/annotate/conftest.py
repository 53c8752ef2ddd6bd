"""Small folders of photos, and a client of the labelling server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labelling import ADDRESS, TOKEN, Connect
from PIL import Image
from starlette.testclient import TestClient

from detfinetune.annotate.server import build_app
from detfinetune.annotate.start import open_store
from detfinetune.annotate.store import LabelImage, LabelStore
from detfinetune.config.schema import DataConfig


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a.jpg, b.jpg and sub/c.png, each 100 x 80 pixels."""
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    picture = Image.radial_gradient("L").resize((100, 80)).convert("RGB")
    for name in ("a.jpg", "b.jpg", "sub/c.png"):
        picture.save(root / name)
    return root


@pytest.fixture
def store(photos: Path) -> LabelStore:
    """A new store of the photos, with the classes car and dog."""
    return open_store(DataConfig(root=photos, classes=["car", "dog"]))


@pytest.fixture
def image(store: LabelStore) -> LabelImage:
    """The image a.jpg."""
    return next(image for image in store.images.values() if image.name == "a.jpg")


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that serves a store and returns a client with its token."""
    clients: list[TestClient] = []

    def start(store: LabelStore, **options: Any) -> TestClient:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        app = build_app(store, TOKEN, **options)
        clients.append(TestClient(app, base_url=ADDRESS, headers=headers))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


@pytest.fixture
def client(store: LabelStore, connect: Connect) -> TestClient:
    """A client of the photos' server."""
    return connect(store)
