"""Fixtures that every test may use."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from toy import write_toy_dataset

import detfinetune  # noqa: F401  # finds the packaged Detectron2, which some tests import first

# Before anything imports torch: the tests run in several processes, one core each.
os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

# In the background of a shell, tests and what they start would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# `--hypothesis-profile thorough` chooses the other one (make test-slow).
settings.register_profile("brief", max_examples=300, deadline=None)
settings.register_profile("thorough", max_examples=1500, deadline=None)
settings.load_profile("brief")

REPO = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Train first: the short tests that are left then even out the processes."""
    items.sort(key=lambda item: "engine" not in item.path.parts)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where torch finds none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no GPU")


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


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    """Limit the bytes of any file, so that writes fail half way, as on a disk that fills up."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout."""
    return REPO


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small data set with two classes, as YOLO polygons; treat it as read-only."""
    folder = tmp_path_factory.mktemp("toy")
    return write_toy_dataset(folder, {"train": 24, "val": 8, "test": 8})
