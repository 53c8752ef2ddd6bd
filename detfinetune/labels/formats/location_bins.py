"""The bins in which Florence-2 gives coordinates: 1,000 along each side of the image.

The quantizer is that of the model (arXiv:2311.06242): a coordinate belongs to the bin that it lies
in, and a bin stands for its centre.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BINS = 1000
COORDINATES = 4

Sizes = NDArray[np.int64] | Sequence[float]
"""Width and height of the image in pixels; (2,), or one row a box, (n, 2)."""


def quantize(boxes: NDArray[np.float64], sizes: Sizes) -> NDArray[np.int64]:
    """Return the bins of boxes, 0-999, with x2 > x1 and y2 > y1.

    A box within one bin gets the nearer neighbour as well.

    Args:
        boxes: x1, y1, x2, y2 in pixels; (n, 4).
        sizes: of the image, or of that of each box.
    """
    scaled = boxes / np.tile(sizes, 2) * BINS
    bins: NDArray[np.int64] = np.clip(np.floor(scaled), 0, BINS - 1).astype(np.int64)
    for low, high in ((0, 2), (1, 3)):
        flat = bins[:, low] == bins[:, high]
        middle = (scaled[:, low] + scaled[:, high]) / 2 - bins[:, low]
        down = flat & (bins[:, low] > 0) & ((middle < 0.5) | (bins[:, low] == BINS - 1))
        bins[:, low] -= down
        bins[:, high] += flat & ~down
    return bins


def dequantize(bins: NDArray[np.int64], sizes: Sizes) -> NDArray[np.float64]:
    """Return x, y, x, y, ... in pixels: the centres of their bins.

    Args:
        bins: x, y, x, y, ...; (..., 2 n).
        sizes: of the image, or of that of each row.
    """
    points: NDArray[np.float64] = (bins + 0.5) / BINS * np.tile(sizes, bins.shape[-1] // 2)
    return points
