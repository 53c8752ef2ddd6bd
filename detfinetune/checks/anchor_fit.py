"""How well anchors fit boxes: sizes after resizing, best IoU over all positions, better anchors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Sizes = Sequence[float] | Sequence[Sequence[float]]

_CHUNK = 200_000
_MOST_FOR_KMEANS = 5000
_KMEANS_STEPS = 50


def resize_scales(sizes: NDArray[np.int64], image_size: int, max_size: int) -> NDArray[np.float64]:
    """Return the scales of x and y that Detectron2's `ResizeShortestEdge` gives images.

    Args:
        sizes: width and height in pixels; (n, 2).
        image_size: what the shorter side becomes, pixels.
        max_size: limit of the longer side, pixels, which is stronger.
    """
    shorter, longer = sizes.min(axis=1), sizes.max(axis=1)
    scale = np.minimum(image_size / shorter, max_size / longer)
    # Whole pixels, rounded to the nearest as Detectron2 does.
    scales: NDArray[np.float64] = np.floor(sizes * scale[:, None] + 0.5) / sizes
    return scales


def cell_anchors(
    sizes: Sizes, aspect_ratios: Sequence[float], strides: Sequence[int]
) -> NDArray[np.float64]:
    """Return width, height and stride of every anchor; (anchors, 3).

    Args:
        sizes: sides in pixels for each stride, one or several.
        aspect_ratios: height over width, at every stride.
        strides: pixels between the anchors of a level; repeated where one level has several sizes.
    """
    rows = []
    for size, stride in zip(sizes, strides, strict=True):
        for side in size if isinstance(size, Sequence) else (size,):
            for ratio in aspect_ratios:
                rows.append((side / ratio**0.5, side * ratio**0.5, stride))
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def best_ious(
    boxes: NDArray[np.float64], images: NDArray[np.float64], anchors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each box's IoU with its best anchor over all positions; (n,).

    Anchors of stride s are centred on multiples of s inside the image (Detectron2's offset 0).
    The IoU with anchors of one shape falls with the distance of the centres, along x and y by
    itself, so the nearest position is the best.

    Args:
        boxes: left, top, width, height in pixels of the resized image; (n, 4).
        images: width and height of the resized image of each box; (n, 2).
        anchors: width, height, stride; (anchors, 3).
    """
    best = np.zeros(len(boxes))
    for start in range(0, len(boxes), _CHUNK):
        part = slice(start, start + _CHUNK)
        sides = boxes[part, 2:]
        centres = boxes[part, :2] + sides / 2
        areas = np.prod(sides, axis=1)
        apart: dict[float, NDArray[np.float64]] = {}
        for width, height, stride in anchors.tolist():
            if stride not in apart:
                last = np.ceil(images[part] / stride) - 1
                nearest = np.clip(np.round(centres / stride), 0, last) * stride
                apart[stride] = np.abs(centres - nearest)
            anchor = np.array((width, height))
            reach = (sides + anchor) / 2 - apart[stride]
            shared = np.prod(np.clip(np.minimum(reach, np.minimum(sides, anchor)), 0, None), axis=1)
            iou = shared / (areas + width * height - shared)
            np.maximum(best[part], iou, out=best[part])
    return best


def cluster_sides(sides: NDArray[np.float64], count: int, seed: int = 0) -> NDArray[np.float64]:
    """Return `count` typical widths and heights by k-means with 1 - IoU for distance; (count, 2).

    Redmon and Farhadi 2017, YOLO9000 (arXiv:1612.08242): the IoU of two boxes with one centre, so
    that large boxes do not outweigh small ones. Centres are medians, started at quantiles of area.

    Args:
        sides: widths and heights, at least one row; (n, 2).
        count: number of clusters.
        seed: of the sample taken where there are more than 5000 boxes.
    """
    if len(sides) > _MOST_FOR_KMEANS:
        generator = np.random.default_rng(seed)
        sides = sides[generator.choice(len(sides), _MOST_FOR_KMEANS, replace=False)]
    by_area = sides[np.argsort(np.prod(sides, axis=1), kind="stable")]
    at = ((np.arange(count) + 0.5) / count * len(sides)).astype(int)
    centres = by_area[at]
    for _ in range(_KMEANS_STEPS):
        shared = np.prod(np.minimum(sides[:, None], centres[None]), axis=2)
        union = np.prod(sides, axis=1)[:, None] + np.prod(centres, axis=1)[None] - shared
        nearest = np.argmax(shared / union, axis=1)
        moved = np.array(
            [
                np.median(sides[nearest == k], axis=0) if (nearest == k).any() else centres[k]
                for k in range(count)
            ]
        )
        if np.allclose(moved, centres):
            break
        centres = moved
    ascending = np.argsort(np.prod(centres, axis=1), kind="stable")
    found: NDArray[np.float64] = centres[ascending]
    return found
