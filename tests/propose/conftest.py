"""Tiny zero-shot detectors, in folders as a user has them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

if find_spec("transformers") is None:  # the extra 'propose'
    collect_ignore_glob = ["test_zero_shot.py", "test_prop*.py", "test_published_models.py"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Function that returns the folder of a model by its kind; treat it as read-only."""
    from tiny_detectors import write_tiny_grounding_dino, write_tiny_owlv2

    top = tmp_path_factory.mktemp("detectors")

    def folder(kind: str) -> Path:
        path = top / kind
        if path.is_dir():
            return path
        if kind == "owlv2":
            return write_tiny_owlv2(path)
        return write_tiny_grounding_dino(path, mm=kind.startswith("mm"))

    return folder


@pytest.fixture(scope="session")
def pictures() -> list[NDArray[np.uint8]]:
    """Three pictures, two of them of one size."""
    generator = np.random.default_rng(0)
    sizes = (100, 150), (150, 100), (100, 150)
    return [generator.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]
