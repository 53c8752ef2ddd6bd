"""How well anchors fit boxes: sizes after resizing, and the best IoU over all positions.

The recipe chooses anchors by the same measure as the check reports (`checks.anchor_choice`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detfinetune.config.anchors import DEFAULT_ASPECT_RATIOS, DEFAULT_STRIDES, AnchorSizes

FITTING_IOU = 0.5
"""An anchor with at least this IoU fits an object.

Detectron2's RPN trains anchors with an IoU of 0.7 or more as positives, and the best anchor of each
object whatever its IoU; those below 0.3 are negatives. An object whose best anchor has less than
0.5 therefore has a single positive, far off, among negatives that look the same.
"""

_CHUNK = 200_000


@dataclass(frozen=True)
class AnchorSettings:
    """A model's anchors and input size, in pixels of the resized image."""

    image_size: int
    """Shorter side after resizing."""

    max_size: int
    """Limit of the longer side."""

    anchor_sizes: AnchorSizes
    """Anchor sides for each stride, one or several."""

    aspect_ratios: tuple[float, ...] = DEFAULT_ASPECT_RATIOS
    """Height over width."""

    strides: tuple[int, ...] = DEFAULT_STRIDES
    """Stride of each feature level, finest first."""


def resize_scales(sizes: NDArray[np.int64], settings: AnchorSettings) -> NDArray[np.float64]:
    """Return the scales of x and y that `data.resize.ResizeShortestEdge` gives images.

    Args:
        sizes: width and height in pixels; (n, 2).
        settings: the shorter side, and the limit of the longer side, which takes precedence.
    """
    shorter, longer = sizes.min(axis=1), sizes.max(axis=1)
    scale = np.minimum(settings.image_size / shorter, settings.max_size / longer)
    # To whole pixels, at least one.
    scales: NDArray[np.float64] = np.maximum(np.floor(sizes * scale[:, None] + 0.5), 1) / sizes
    return scales


def resized(
    boxes: NDArray[np.float64], sizes: NDArray[np.int64], settings: AnchorSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return boxes and image sizes after resizing.

    Args:
        boxes: xywh in pixels of the file; (n, 4).
        sizes: width and height of the image of each box, pixels; (n, 2).
        settings: the size to resize to.
    """
    scales = resize_scales(sizes, settings)
    return boxes * np.tile(scales, 2), sizes * scales


def cell_anchors(settings: AnchorSettings) -> NDArray[np.float64]:
    """Return width, height and stride of every anchor; (anchors, 3)."""
    rows = []
    for size, stride in zip(settings.anchor_sizes, settings.strides, strict=True):
        for side in size if isinstance(size, Sequence) else (size,):
            for ratio in settings.aspect_ratios:
                rows.append((side / ratio**0.5, side * ratio**0.5, stride))
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def best_ious(
    boxes: NDArray[np.float64], images: NDArray[np.float64], anchors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each box's IoU with its best anchor over all positions; (n,).

    Anchors of stride s are centred on multiples of s inside the image (Detectron2's offset 0).
    For one anchor shape, IoU falls with the distance of the centres along each axis, so the
    nearest position is the best.

    Args:
        boxes: xywh in pixels of the resized image; (n, 4).
        images: width and height of the resized image of each box; (n, 2).
        anchors: width, height, stride; (anchors, 3).
    """
    best = np.zeros(len(boxes))
    for start in range(0, len(boxes), _CHUNK):
        part = slice(start, start + _CHUNK)
        sides = boxes[part, 2:]
        centres = boxes[part, :2] + sides / 2
        areas = np.prod(sides, axis=1)
        distances: dict[float, NDArray[np.float64]] = {}
        for width, height, stride in anchors.tolist():
            if stride not in distances:
                last = np.ceil(images[part] / stride) - 1
                nearest = np.clip(np.round(centres / stride), 0, last) * stride
                distances[stride] = np.abs(centres - nearest)
            anchor = np.array((width, height))
            reach = (sides + anchor) / 2 - distances[stride]
            overlap = np.minimum(reach, np.minimum(sides, anchor))
            intersection = np.prod(np.clip(overlap, 0, None), axis=1)
            iou = intersection / (areas + width * height - intersection)
            np.maximum(best[part], iou, out=best[part])
    return best


def anchor_recall(
    boxes: NDArray[np.float64], images: NDArray[np.float64], settings: AnchorSettings
) -> float:
    """Return the share of the boxes, at least one, that an anchor fits; as `best_ious`."""
    return float((best_ious(boxes, images, cell_anchors(settings)) >= FITTING_IOU).mean())
