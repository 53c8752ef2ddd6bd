"""Boxes as Florence-2 writes them: each coordinate is one of 1,000 bins of the image's side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 1000
COORDINATES = 4


def quantize(boxes: NDArray[np.float64], width: float, height: float) -> NDArray[np.int64]:
    """Return the bins of boxes, 0-999, with x2 > x1 and y2 > y1.

    A box within one bin gets the nearer neighbour as well.

    Args:
        boxes: x1, y1, x2, y2 in pixels; (n, 4).
        width: of the image, pixels.
        height: of the image, pixels.
    """
    scaled = boxes / np.array([width, height, width, height]) * BINS
    bins: NDArray[np.int64] = np.clip(np.floor(scaled), 0, BINS - 1).astype(np.int64)
    for low, high in ((0, 2), (1, 3)):
        flat = bins[:, low] == bins[:, high]
        middle = (scaled[:, low] + scaled[:, high]) / 2 - bins[:, low]
        down = flat & (bins[:, low] > 0) & ((middle < 0.5) | (bins[:, low] == BINS - 1))
        bins[:, low] -= down
        bins[:, high] += flat & ~down
    return bins


def dequantize(bins: NDArray[np.int64], width: float, height: float) -> NDArray[np.float64]:
    """Return x, y, x, y, ... in pixels: the centres of their bins.

    Args:
        bins: x, y, x, y, ...; (..., 2 n).
        width: of the image, pixels.
        height: of the image, pixels.
    """
    sides = np.resize([width, height], bins.shape[-1])
    points: NDArray[np.float64] = (bins + 0.5) / BINS * sides
    return points
