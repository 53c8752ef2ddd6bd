"""Label tables from a few image records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detfinetune.labels.dataset.records import ImageRecord
from detfinetune.labels.dataset.table import LabelTable


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
