"""Label tables from a few image records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detfinetune.labels.dataset.records import Annotation, ImageRecord
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.labels.dataset.table import LabelTable

Objects = Sequence[tuple[int, float, float]]
"""Class id, width and height in pixels of each object."""


def table_of(image_root: Path, records: Sequence[ImageRecord]) -> LabelTable:
    """Return the table of image records."""
    objects = [annotation for record in records for annotation in record.annotations]
    counts = [len(record.annotations) for record in records]
    return LabelTable(
        image_root=image_root,
        names=tuple(record.file_name for record in records),
        label_files=tuple(record.label_file for record in records),
        sizes=np.array([(r.width, r.height) for r in records], dtype=np.int64).reshape(-1, 2),
        starts=np.cumsum([0, *counts], dtype=np.int64),
        categories=np.array([a.category for a in objects], dtype=np.int32),
        boxes=np.array([a.bbox for a in objects], dtype=np.float64).reshape(-1, 4),
        lines=np.array([a.line for a in objects], dtype=np.int32),
        crowd=np.array([a.crowd for a in objects], dtype=bool),
        polygons={i: a.polygons for i, a in enumerate(objects) if a.polygons},
        masks={i: a.mask for i, a in enumerate(objects) if a.mask is not None},
        areas={i: a.area for i, a in enumerate(objects) if a.area is not None},
    )


def statistics_of(
    images: Sequence[Objects], size: tuple[int, int] = (640, 480)
) -> DatasetStatistics:
    """Return the statistics of images of one size (w, h) with objects all over them."""
    records, number = [], 0
    for index, objects in enumerate(images):
        annotations = []
        for category, width, height in objects:
            # Multiples of two irrational numbers fill the unit square evenly.
            number += 1
            x = number * 0.75488 % 1 * (size[0] - width)
            y = number * 0.56984 % 1 * (size[1] - height)
            annotations.append(Annotation(category, (x, y, width, height)))
        records.append(ImageRecord(f"{index}.jpg", *size, tuple(annotations), f"{index}.txt"))
    table = table_of(Path("images"), records)
    return DatasetStatistics(table, int(table.categories.max(initial=0)) + 1)
