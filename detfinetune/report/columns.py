"""The numbers behind the charts: one row an object or an image, split by split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.dataset.table import LabelTable

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Resizing:
    """How a model resizes images before it sees them."""

    image_size: int
    """Shorter side after resizing, pixels."""

    max_size: int = 0
    """Limit of the longer side after resizing, pixels; 0: 5/3 of `image_size`."""

    def factors(self, sizes: NDArray[np.int64]) -> Floats:
        """Return the factor on each image; `sizes` is (images, 2)."""
        shorter, longer = sizes.min(axis=1), sizes.max(axis=1)
        limit = self.max_size or self.image_size * 5 / 3
        wanted = self.image_size / np.maximum(shorter, 1)
        return np.asarray(np.minimum(wanted, limit / np.maximum(longer, 1)), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class SplitColumns:
    """A split's boxes and images in numbers."""

    name: str
    wide: Floats
    """Box widths in pixels, of the resized image where a resizing is given; (objects,)."""

    high: Floats
    """Box heights likewise; (objects,)."""

    share: Floats
    """Square root of box area over image area, in 0-1; (objects,)."""

    ratio: Floats
    """Box width over height; (objects,)."""

    centres: Floats
    """Box centres as fractions of the image's width and height; (objects, 2)."""

    per_image: NDArray[np.int64]
    """Objects on each image; (images,)."""

    sizes: NDArray[np.int64]
    """Image widths and heights in pixels, as they are on disk; (images, 2)."""


def split_columns(name: str, table: LabelTable, resizing: Resizing | None) -> SplitColumns:
    """Return a split's numbers; boxes without area are left out."""
    solid = (table.boxes[:, 2] > 0) & (table.boxes[:, 3] > 0)
    boxes = table.boxes[solid]
    image = table.image_of[solid]
    sizes = np.maximum(table.sizes[image], 1)
    factor = resizing.factors(table.sizes)[image] if resizing else np.ones(len(boxes))
    area = boxes[:, 2] * boxes[:, 3]
    return SplitColumns(
        name=name,
        wide=boxes[:, 2] * factor,
        high=boxes[:, 3] * factor,
        share=np.sqrt(area / (sizes[:, 0] * sizes[:, 1])),
        ratio=boxes[:, 2] / boxes[:, 3],
        centres=(boxes[:, :2] + boxes[:, 2:] / 2) / sizes,
        per_image=np.diff(table.starts),
        sizes=table.sizes,
    )
