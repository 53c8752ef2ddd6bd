"""Small data sets, made by hand in `tmp_path`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL import Image

MakeDataset = Callable[..., Path]


def write_image(
    path: Path, size: tuple[int, int] = (100, 80), orientation: int | None = None
) -> None:
    """Write a picture whose pixels differ from place to place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.radial_gradient("L").resize(size).convert("RGB")
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(path, exif=exif)


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Return a function that writes images and text files below a folder and returns it."""

    def make(
        images: Mapping[str, tuple[int, int]] | list[str],
        texts: Mapping[str, str | bytes],
        folder: str = "data",
    ) -> Path:
        root = tmp_path / folder
        sizes = images if isinstance(images, Mapping) else dict.fromkeys(images, (100, 80))
        for name, size in sizes.items():
            write_image(root / name, size)
        for name, text in texts.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return root

    return make
