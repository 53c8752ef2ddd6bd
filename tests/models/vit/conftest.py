"""Saved transformers and pictures, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_transformers import save_tiny_beit, save_tiny_dit, write_four_pictures


@pytest.fixture(scope="session")
def dit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_dit(tmp_path_factory.mktemp("dit"))


@pytest.fixture(scope="session")
def beit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_beit(tmp_path_factory.mktemp("beit"))


@pytest.fixture(scope="session")
def four_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_four_pictures(tmp_path_factory.mktemp("four"))
