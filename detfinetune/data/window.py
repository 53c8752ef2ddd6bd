"""Grey levels of images with more than 8 bits, as from X-rays, microscopes and depth cameras.

One window for all images of a run becomes 0 to 255, so that a grey level means the same in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detfinetune.errors import DataError
from detfinetune.image_files import IMAGE_ERRORS, is_deep_grey, open_image_file

Window = tuple[float, float]
"""The grey levels that become 0 and 255."""

_PERCENTILES = (0.5, 99.5)
# Enough for percentiles of a data set.
_IMAGES, _PIXELS_AN_IMAGE = 200, 20_000
_EIGHT_BITS = (".jpg", ".jpeg", ".webp", ".bmp", ".gif")


def grey_window(paths: Sequence[Path]) -> Window | None:
    """Return the 0.5th and 99.5th percentile of the grey levels of images with more than 8 bits.

    At most 200 images are read, spread over the list. None if there is none with more than 8 bits;
    images that cannot be read are left out.
    """
    # Spread: every seventh, from the first on, then every seventh from the second on, and so on.
    spread = (path for start in range(7) for path in paths[start::7])
    samples = list(islice(_samples(spread), _IMAGES))
    if not samples:
        return None
    low, high = np.percentile(np.concatenate(samples), _PERCENTILES).tolist()
    return (low, high) if high > low else (low, low + 1)


def _samples(paths: Iterable[Path]) -> Iterator[NDArray[np.float32]]:
    """Yield some grey levels of each image with more than 8 bits."""
    for path in paths:
        if path.suffix.lower() in _EIGHT_BITS:
            continue
        try:
            with open_image_file(path) as image:
                if not is_deep_grey(image):
                    continue
                values = np.asarray(image, dtype=np.float32).ravel()
        except IMAGE_ERRORS:
            continue
        # NaN and infinity stand for pixels without data.
        values = values[np.isfinite(values)]
        if len(values):
            yield values[:: max(len(values) // _PIXELS_AN_IMAGE, 1)]


def apply_window(
    values: NDArray[np.generic], window: Window | None, where: str
) -> NDArray[np.uint8]:
    """Return grey levels of any type and shape (H, W) as 0 to 255, (H, W, 3); NaN becomes black.

    Raises:
        DataError: there is no window, because the images for training had 8 bits.
    """
    if window is None:
        raise DataError(
            f"{where}: the image has more than 8 bits, but there was none such when the run began. "
            "Train with augment.window=[LOW,HIGH], the grey levels that become black and white."
        )
    low, high = window
    finite = np.nan_to_num(values.astype(np.float32), nan=low, posinf=high, neginf=low)
    scaled = (finite - low) * (255 / (high - low))
    grey = np.clip(np.round(scaled), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
