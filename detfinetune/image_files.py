"""Opening image files: what is refused, up to which size, and what Pillow raises."""

from __future__ import annotations

import math
import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from detfinetune.errors import ConfigError

MEGAPIXELS_VARIABLE = "DETFINETUNE_MAX_MEGAPIXELS"
# About Pillow's own limit, against small files that would fill the memory.
_USUAL_MEGAPIXELS = 179.0

IMAGE_ERRORS = (
    OSError,
    Image.DecompressionBombError,
    SyntaxError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    EOFError,
    OverflowError,
    MemoryError,
)
"""What Pillow raises for files that it cannot open or decode."""


def max_megapixels() -> float:
    """Return the largest image that is read, from the environment.

    Raises:
        ConfigError: the variable is not a positive number.
    """
    text = os.environ.get(MEGAPIXELS_VARIABLE)
    if not text:
        return _USUAL_MEGAPIXELS
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise ConfigError(
            f"{MEGAPIXELS_VARIABLE}={text}: not a positive number. Set it to megapixels, such as "
            f"{MEGAPIXELS_VARIABLE}=400, or unset it."
        )
    return limit


def open_image_file(source: Path | str | BinaryIO) -> Image.Image:
    """Open an image with Pillow, with the limit of `max_megapixels`.

    The limit is applied here, and not once at the start, because worker processes inherit the
    environment but not always Pillow's settings.

    Raises:
        ConfigError: the limit is not a positive number.
        IMAGE_ERRORS: it cannot be opened.
    """
    # Pillow warns at its limit and refuses at twice that.
    Image.MAX_IMAGE_PIXELS = int(max_megapixels() * 1e6 / 2)
    if isinstance(source, Path | str):
        refuse_special_file(Path(source))
    image = Image.open(source)
    if image.format == "TIFF":
        # Pillow maps grey levels of a named file into memory, with wrong sides if EXIF turns them.
        image.filename = ""
    return image


def is_deep_grey(image: Image.Image) -> bool:
    """Return whether an image has one channel of more than 8 bits."""
    return image.mode.startswith(("I", "F"))


def refuse_special_file(path: Path) -> None:
    """Raise an OSError for what is there and not a file: a named pipe would block for ever."""
    if path.exists() and not path.is_file():
        raise OSError("not a regular file")


def describe_image_error(error: Exception) -> str:
    """Say why Pillow could not read an image."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    if isinstance(error, Image.DecompressionBombError):
        megapixels = [math.ceil(int(number) / 1e6) for number in re.findall(r"\d+", str(error))]
        return (
            f"the image has {megapixels[0]} megapixels, more than the limit of "
            f"{max_megapixels():g}: cut it into tiles, or set the environment variable "
            f"{MEGAPIXELS_VARIABLE}={megapixels[0]}"
        )
    if isinstance(error, OSError):
        return f"the image cannot be read ({error.strerror or error})"
    return f"the image is damaged ({error})"
