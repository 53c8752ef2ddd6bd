"""One image with its objects, on its way from the file to a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Polygons = list[NDArray[np.float64]]
"""One object's outline: x0, y0, x1, y1, ... of each part."""

Mask = Polygons | NDArray[np.uint8]
"""Polygons, or a bitmap of 0 and 1 as large as the image."""


@dataclass(frozen=True)
class Sample:
    """An image and its objects, in pixels of `image`."""

    image: NDArray[np.uint8]
    """(H, W, 3), in the channel order of the model's `InputSpec`."""

    boxes: NDArray[np.float64]
    """x1, y1, x2, y2; (n, 4)."""

    class_ids: NDArray[np.int64]
    """Contiguous class ids, from 0; (n,)."""

    masks: list[Mask] | None
    """One an object; None if the model has no masks."""

    height: int
    """Of the image in its file."""

    width: int
    image_id: int = 0
    """In the ground truth."""

    @classmethod
    def unlabelled(cls, image: NDArray[np.uint8]) -> Sample:
        """Return an image of which nothing is known."""
        boxes, class_ids = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
        return cls(image, boxes, class_ids, None, *image.shape[:2])

    def keep(self, chosen: NDArray[np.bool_]) -> Sample:
        """Return the sample with only the chosen objects."""
        masks = self.masks
        if masks is not None:
            masks = [mask for mask, kept in zip(masks, chosen, strict=True) if kept]
        return replace(
            self, boxes=self.boxes[chosen], class_ids=self.class_ids[chosen], masks=masks
        )


def as_polygons(segmentation: Any) -> Polygons:
    """Return COCO polygons as arrays."""
    return [np.asarray(polygon, dtype=np.float64) for polygon in segmentation]
