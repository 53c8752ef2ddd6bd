"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toy import write_toy_dataset

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _no_users_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep fixtures that live longer than a test away from the user's cache too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETFINETUNE_CACHE", str(tmp_path_factory.mktemp("session-cache")))
        yield


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a cache of its own, so that none sees what another, or the user, left."""
    monkeypatch.setenv("DETFINETUNE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets, which lie beside the checkout; skips where there are none."""
    folder = REPO.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data sets are not at {folder}")
    return folder


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout."""
    return REPO


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small data set with two classes, as YOLO polygons; treat it as read-only."""
    folder = tmp_path_factory.mktemp("toy")
    return write_toy_dataset(folder, {"train": 24, "val": 8, "test": 8})
