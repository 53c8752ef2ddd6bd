"""Keep the images of a step that failed, so that the user can see what was special about them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from detfinetune.data.load import Color
from detfinetune.data.sample import Sample
from detfinetune.files import atomic_path
from detfinetune.pictures import DrawnObject, contact_sheet, draw_objects

# Pixels after resizing. Offsets to such a box are logarithms of a small number.
_THIN = 2


def keep_failed_batch(
    folder: Path,
    name: str,
    images: Sequence[tuple[str, Sample]],
    classes: Sequence[str],
    color: Color,
) -> None:
    """Write `<name>.pt`, all that the model got of each image, and `<name>.jpg`, to look at.

    Raises:
        OSError: they cannot be written.
    """
    content = [
        {
            "file": file,
            "image": torch.from_numpy(np.ascontiguousarray(sample.image)),
            "boxes": torch.from_numpy(sample.boxes),
            "class_ids": torch.from_numpy(sample.class_ids),
        }
        for file, sample in images
    ]
    with atomic_path(folder / f"{name}.pt") as temporary:
        torch.save({"color": color, "classes": list(classes), "images": content}, temporary)
    tiles = [(_drawn(sample, classes, color), describe(file, sample)) for file, sample in images]
    with atomic_path(folder / f"{name}.jpg") as temporary:
        contact_sheet(tiles, title="as the model got them").save(temporary, format="JPEG")


def describe(file: str, sample: Sample) -> str:
    """Return the file, and how many boxes it has, with those that are suspiciously thin."""
    thin = int(((sample.boxes[:, 2:] - sample.boxes[:, :2]).min(axis=1) < _THIN).sum())
    suspect = f", {thin} thinner than {_THIN} px" if thin else ""
    return f"{file} ({len(sample.boxes)} boxes{suspect})"


def _drawn(sample: Sample, classes: Sequence[str], color: Color) -> Image.Image:
    pixels = sample.image if color == "RGB" else sample.image[:, :, ::-1]
    objects = [
        DrawnObject((x1, y1, x2 - x1, y2 - y1), classes[kind], kind)
        for (x1, y1, x2, y2), kind in zip(
            sample.boxes.tolist(), sample.class_ids.tolist(), strict=True
        )
    ]
    return draw_objects(Image.fromarray(np.ascontiguousarray(pixels)), objects)
