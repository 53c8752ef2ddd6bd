"""A data set of large bright shapes on dark ground, which a tiny Florence-2 can memorise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("disc", "square")
SIDE = 64


def write_bright_shapes(folder: Path, images: int, seed: int) -> Path:
    """Write images and YOLO labels, the same ones as `train` and as `val`.

    Args:
        folder: is made.
        images: in each split; each with one to three shapes.
        seed: of what is drawn.
    """
    generator = np.random.default_rng(seed)
    drawn = [_draw(generator) for _ in range(images)]
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number, (image, lines) in enumerate(drawn):
            image.save(folder / "images" / split / f"{number}.png")
            labels = folder / "labels" / split / f"{number}.txt"
            labels.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    return folder


def _draw(generator: np.random.Generator) -> tuple[Image.Image, list[str]]:
    image = Image.new("RGB", (SIDE, SIDE), (int(generator.integers(60)),) * 3)
    pen = ImageDraw.Draw(image)
    lines = []
    for _ in range(generator.integers(1, 4)):
        kind = int(generator.integers(2))
        w, h = generator.integers(10, 31, 2).tolist()
        x, y = int(generator.integers(SIDE - w + 1)), int(generator.integers(SIDE - h + 1))
        shape, colour = ((pen.ellipse, (60, 220, 60)), (pen.rectangle, (220, 60, 60)))[kind]
        # Pillow's far edge is inclusive, ours is not.
        shape((x, y, x + w - 1, y + h - 1), fill=colour)
        centre = (x + w / 2) / SIDE, (y + h / 2) / SIDE
        lines.append(f"{kind} {centre[0]} {centre[1]} {w / SIDE} {h / SIDE}")
    return image, lines
