"""A toy data set: bright discs and dark squares on noise, easy enough to learn in a minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("disc", "square")
SIDE = 96


def write_toy_dataset(folder: Path, splits: dict[str, int], seed: int = 0) -> Path:
    """Write `images/<split>` and YOLO polygons in `labels/<split>`; every fifth image is empty.

    Args:
        folder: is made.
        splits: number of images by split.
        seed: of what is drawn.
    """
    generator = np.random.default_rng(seed)
    for split, count in splits.items():
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for number in range(count):
            image, lines = _draw(generator, objects=0 if number % 5 == 4 else 3)
            image.save(images / f"{split} {number:03}.png")
            (labels / f"{split} {number:03}.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    return folder


def _draw(generator: np.random.Generator, objects: int) -> tuple[Image.Image, list[str]]:
    noise = generator.integers(90, 160, (SIDE, SIDE, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    pen = ImageDraw.Draw(image)
    lines = []
    cells = generator.permutation(9)[:objects]
    for cell in cells:
        size = int(generator.integers(18, 30))
        x = int(cell % 3) * 32 + int(generator.integers(0, 32 - size + 1))
        y = int(cell // 3) * 32 + int(generator.integers(0, 32 - size + 1))
        kind = int(generator.integers(2))
        # Pillow's far edge is inclusive, ours is not.
        box = (x, y, x + size - 1, y + size - 1)
        if kind == 0:
            pen.ellipse(box, fill=(240, 220, 60))
            angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * size / 2
            points += (x + size / 2, y + size / 2)
        else:
            pen.rectangle(box, fill=(20, 30, 90))
            points = np.array([[x, y], [x + size, y], [x + size, y + size], [x, y + size]], float)
        normalized = " ".join(f"{value / SIDE:.6f}" for value in points.reshape(-1))
        lines.append(f"{kind} {normalized}\n")
    return image, lines
