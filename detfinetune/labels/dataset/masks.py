"""Masks: for pycocotools, as pixels, and as polygons for drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as mask_api

from detfinetune.labels.dataset.records import Polygon, RleMask


def encoded(mask: RleMask) -> dict[str, Any]:
    """Return a mask in the compressed form that pycocotools takes."""
    size = list(mask.size)
    if isinstance(mask.counts, str):
        return {"size": size, "counts": mask.counts.encode("ascii")}
    return dict(mask_api.frPyObjects({"size": size, "counts": list(mask.counts)}, *size))


def decoded(mask: RleMask) -> npt.NDArray[np.bool_]:
    """Return a mask's pixels; (height, width)."""
    return np.asarray(mask_api.decode(encoded(mask)), dtype=bool)


def mask_to_polygons(mask: npt.NDArray[Any]) -> tuple[Polygon, ...]:
    """Return the outer contours of a binary mask [H, W] as polygons in pixels.

    They run through the centres of the border pixels. Contours of fewer than three points, which
    have no area, are left out.
    """
    contours, _ = cv2.findContours(
        np.ascontiguousarray(mask, dtype=np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    return tuple(
        tuple(float(value) + 0.5 for value in contour.reshape(-1))
        for contour in contours
        if len(contour) >= 3
    )


def polygon_area(polygon: Sequence[float]) -> float:
    """Return the area in square pixels of x0, y0, x1, y1, ... by the shoelace formula."""
    xs, ys = polygon[0::2], polygon[1::2]
    twice = sum(
        xs[i - 1] * ys[i] - xs[i] * ys[i - 1]
        for i in range(len(xs))  # i - 1 is -1, the last point, at the start: this closes the ring
    )
    return abs(twice) / 2


def segmentation_polygons(segmentation: Any, height: int, width: int) -> tuple[Polygon, ...]:
    """Return the polygons of a COCO `segmentation` (polygons, or RLE of either kind)."""
    if not segmentation:
        return ()
    if isinstance(segmentation, list):
        return tuple(tuple(float(value) for value in polygon) for polygon in segmentation)
    if isinstance(segmentation["counts"], list):
        segmentation = mask_api.frPyObjects(segmentation, height, width)
    return mask_to_polygons(mask_api.decode(segmentation))
