"""The bins in which Florence-2 gives coordinates: 1,000 along each side of the image.

The quantizer is that of the model (arXiv:2311.06242): a coordinate belongs to the bin that it lies
in, and a bin stands for its centre.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 1000


def quantize(xyxy: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bins, 0 to 999, of boxes in pixels: x2 > x1 and y2 > y1 also within one bin.

    Args:
        xyxy: x1, y1, x2, y2, inside their image; (boxes, 4).
        sizes: width and height of each box's image in pixels; (boxes, 2).
    """
    bins = np.floor(xyxy / np.tile(sizes, 2) * BINS).astype(np.int64)
    first = bins[:, :2].clip(0, BINS - 2)
    return np.hstack((first, bins[:, 2:].clip(first + 1, BINS - 1)))
