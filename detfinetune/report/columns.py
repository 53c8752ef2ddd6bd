"""The data of the charts: one row per object or image, by split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.anchor_fit import AnchorSettings, resize_scales
from detfinetune.labels.dataset.table import LabelTable

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SplitColumns:
    """Boxes and images of a split."""

    name: str
    wide: Floats
    """Box widths in pixels, of the resized image if anchors are given; (objects,)."""

    high: Floats
    """Box heights in the same unit; (objects,)."""

    share: Floats
    """Square root of box area over image area, in 0-1; (objects,)."""

    ratio: Floats
    """Box width over height; (objects,)."""

    centres: Floats
    """Box centres in normalized coordinates; (objects, 2)."""

    per_image: NDArray[np.int64]
    """Objects on each image; (images,)."""

    sizes: NDArray[np.int64]
    """Image widths and heights in pixels, before resizing; (images, 2)."""


def split_columns(name: str, table: LabelTable, anchors: AnchorSettings | None) -> SplitColumns:
    """Return the columns of a split, without boxes that have no area."""
    solid = (table.boxes[:, 2] > 0) & (table.boxes[:, 3] > 0)
    boxes = table.boxes[solid]
    image = table.image_of[solid]
    sizes = np.maximum(table.sizes[image], 1)
    resized = boxes[:, 2:] * (resize_scales(sizes, anchors) if anchors else 1.0)
    area = boxes[:, 2] * boxes[:, 3]
    return SplitColumns(
        name=name,
        wide=resized[:, 0],
        high=resized[:, 1],
        share=np.sqrt(area / (sizes[:, 0] * sizes[:, 1])),
        ratio=boxes[:, 2] / boxes[:, 3],
        centres=(boxes[:, :2] + boxes[:, 2:] / 2) / sizes,
        per_image=np.diff(table.starts),
        sizes=table.sizes,
    )
