"""Pictures of images for a browser: upright, in 8 bits, and not larger than a screen."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from detfinetune.data.window import Window, apply_window, grey_window
from detfinetune.image_files import is_deep_grey, open_image_file
from detfinetune.labels.images.sizes import exif_orientation

LONGEST_SIDE = 2048
"""Pixels of a picture's longer side; boxes stay those of the file."""

_JPEG_QUALITY = 90
# What browsers show as it is. Others, such as CMYK, are converted.
_PLAIN = {"JPEG": ("RGB", "L"), "PNG": ("RGB", "RGBA", "L", "LA", "P", "1")}
_MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png"}


class Pictures:
    """Makes the pictures of a data set, whose images of more than 8 bits share a window."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Take all images of the data set."""
        self._paths = paths
        self._lock = threading.Lock()
        self._window: Window | None = None

    def picture(self, path: Path) -> tuple[bytes, str]:
        """Return the picture of an image, and its media type.

        Raises:
            ConfigError: the limit of megapixels is not a number.
            IMAGE_ERRORS: it is missing, damaged or too large.
        """
        data = path.read_bytes()
        stream = io.BytesIO(data)
        with open_image_file(stream) as image:
            kind = image.format or ""
            upright = exif_orientation(image, stream) == 1
            small = max(image.size) <= LONGEST_SIDE
            if small and upright and image.mode in _PLAIN.get(kind, ()):
                return data, _MEDIA_TYPES[kind]
            if kind == "JPEG":
                # Decodes at half or a quarter of the size, which saves most of the time.
                image.draft(None, _reduced(image.size))
            image.load()
            turned = ImageOps.exif_transpose(image)
            if is_deep_grey(turned):
                values = np.asarray(turned)
                turned = Image.fromarray(apply_window(values, self._shared_window(), str(path)))
            turned = turned.convert("RGB")
        turned.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        result = io.BytesIO()
        turned.save(result, "JPEG", quality=_JPEG_QUALITY)
        return result.getvalue(), _MEDIA_TYPES["JPEG"]

    def _shared_window(self) -> Window:
        with self._lock:
            if self._window is None:
                self._window = grey_window(self._paths) or (0.0, 255.0)
            return self._window


def _reduced(size: tuple[int, int]) -> tuple[int, int]:
    """Return a size of LONGEST_SIDE at most; `draft` takes the next one above."""
    scale = min(1.0, LONGEST_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
