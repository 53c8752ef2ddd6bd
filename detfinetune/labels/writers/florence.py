"""Florence-2's JSONL: one line an image, as maestro and the notebooks on Florence-2 read it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from detfinetune.errors import DataError
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.formats.json.florence import DETECTION
from detfinetune.labels.formats.location_bins import dequantize, quantize
from detfinetune.labels.writers import BOX_MOVED_PIXELS, WrittenLabels, check_classes
from detfinetune.labels.writers.files import kept_objects
from detfinetune.labels.writers.txt import boxes_written

_LOCATION = re.compile(r"<loc_\d+>", re.ASCII)


def write_florence(
    folder: Path, split: str, table: LabelTable, classes: Sequence[str]
) -> WrittenLabels:
    """Write annotations.jsonl into a split's folder below `folder`, where its images belong too.

    A side moves by up to half a bin, a 2,000th of the image; that of a box within one bin by up to
    one and a half. An image without objects has an empty suffix. Polygons and crowd regions cannot
    be written in this format; both are counted.

    Raises:
        DataError: a class name holds a location.
    """
    check_classes(table.categories.tolist(), classes)
    for name in classes:
        if _LOCATION.search(name):
            raise DataError(
                f"class name '{name}' holds a location token of Florence-2. Rename it, or write "
                "another format."
            )
    xyxy = table.boxes.copy()
    xyxy[:, 2:] += xyxy[:, :2]
    sizes = table.sizes[table.image_of]
    bins = quantize(xyxy, sizes)
    objects = [
        classes[category] + "".join(f"<loc_{bin_}>" for bin_ in box)
        for category, box in zip(table.categories.tolist(), bins.tolist(), strict=True)
    ]
    lines = []
    for image, kept in zip(table.names, kept_objects(table), strict=True):
        suffix = "".join(objects[i] for i in kept)
        entry = {"image": image, "prefix": DETECTION, "suffix": suffix}
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    place = folder / split_folder(split)
    place.mkdir(parents=True, exist_ok=True)
    (place / "annotations.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    moved = np.abs(dequantize(bins, sizes) - xyxy).max(axis=1) > BOX_MOVED_PIXELS
    return replace(
        boxes_written("florence", split, table),
        files=1,
        boxes_moved=int((moved & ~table.crowd).sum()),
    )


def split_folder(split: str) -> str:
    """Return the folder of a split's labels and images: maestro wants train, valid and test."""
    return "valid" if split == "val" else split
