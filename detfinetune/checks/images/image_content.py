"""Facts about one image file: whether it decodes, its format, its pixels.

The file is read once. A JPEG is decoded at a reduced size (libjpeg scales while it decodes): its
data is still read to the end, so truncation is found as with full decoding. Some damage within a
JPEG goes unnoticed, as in training, because Pillow ignores libjpeg's warnings.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from detfinetune.image_files import (
    IMAGE_ERRORS,
    describe_image_error,
    is_deep_grey,
    open_image_file,
    refuse_special_file,
)
from detfinetune.labels.images.sizes import looks_complete

THUMBNAIL_SIDE = 32

_SMALL_SIDE = 128
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_PNG_BITS_AT = 24
_MODE_BITS = {"1": 1, "I": 32, "F": 32}
_ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_OPAQUE_FROM = 128
_HIDDEN_CONTRAST = 8.0
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Facts about one image file; with a problem, only the first three fields are set."""

    digest: str = ""
    """BLAKE2b of the file's bytes (128 bits, hex)."""

    problem_kind: str = ""
    """image_empty, image_unreadable, image_truncated or image_corrupt; empty if it decodes."""

    problem: str = ""
    """Why the image cannot be read."""

    width: int = 0
    """Pixels, after EXIF rotation."""

    height: int = 0
    """Pixels, after EXIF rotation."""

    orientation: int = 1
    """EXIF orientation, 1 to 8; from 5 on, width and height are swapped."""

    format: str = ""
    """Pillow's name: JPEG, PNG, TIFF, ..."""

    mode: str = ""
    """Pillow's mode: L, RGB, P, CMYK, RGBA, I;16, ..."""

    bits: int = 8
    """Bits per channel in the file."""

    frames: int = 1
    """Frames or pages in the file."""

    transparent: float = 0.0
    """Share of pixels with alpha below 128, 0 to 1."""

    hides_content: bool = False
    """Whether transparent pixels differ in colour: training sees them, people do not."""

    mean: float = 0.0
    """Mean grey level, 0 to 255; of more than 8 bits as scaled to the image's own range."""

    contrast: float = 0.0
    """Standard deviation of these grey levels."""

    spread: int = 0
    """Range of these grey levels, 0 to 255."""

    hash: int = 0
    """Perceptual hash (ImageHash's `phash`), 64 bits."""

    thumbnail: bytes = b""
    """Grey levels of the image at 32x32, row by row."""

    @property
    def sound(self) -> bool:
        """Whether the image decodes."""
        return not self.problem_kind


def scan_image(path: Path) -> ImageFacts:
    """Read and decode one image; the facts include any problem."""
    content, digest = b"", ""
    try:
        refuse_special_file(path)
        content = path.read_bytes()
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        if not content:
            return ImageFacts(digest, "image_empty", "the image file is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(content, digest)
    except IMAGE_ERRORS as error:
        problem = describe_image_error(error)
        refused = isinstance(error, UnidentifiedImageError | Image.DecompressionBombError)
        kind = "image_unreadable" if refused or not content else "image_corrupt"
    if content and ("truncated" in problem or not looks_complete(io.BytesIO(content))):
        kind = "image_truncated"
    return ImageFacts(digest, kind, problem)


def _decode(content: bytes, digest: str) -> ImageFacts:
    """Decode an image and return its facts; raises whatever Pillow raises."""
    with open_image_file(io.BytesIO(content)) as image:
        size, mode, image_format = image.size, image.mode, image.format or ""
        bits = _bits(image, content)
        # A PNG's flag may follow its pixels: asking now would decode it, so ask after loading.
        orientation = 1 if image_format == "PNG" else _orientation(image)
        if image_format in ("JPEG", "MPO"):
            image.draft("L" if mode == "RGB" else mode, (_SMALL_SIDE, _SMALL_SIDE))
        image.load()
        pending = orientation
        if image_format in ("PNG", "TIFF"):
            # Loading already rotates a TIFF.
            size, pending = image.size, _orientation(image)
            orientation = max(orientation, pending)
        transparent, hides_content = _alpha(image)
        shown, seen = _grey_levels(image)
        frames = int(getattr(image, "n_frames", 1))
    if pending in _TRANSPOSES:
        shown = shown.transpose(_TRANSPOSES[pending])
    width, height = size if pending < 5 else size[::-1]
    return ImageFacts(
        digest,
        width=width,
        height=height,
        orientation=orientation,
        format=image_format,
        mode=mode,
        bits=bits,
        frames=frames,
        transparent=transparent,
        hides_content=hides_content,
        mean=round(float(seen.mean()), 2),
        contrast=round(float(seen.std()), 3),
        spread=int(seen.max()) - int(seen.min()),
        hash=_perceptual_hash(shown),
        thumbnail=shown.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX).tobytes(),
    )


def _orientation(image: Image.Image) -> int:
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _bits(image: Image.Image, content: bytes) -> int:
    """Return bits per channel in the file; Pillow's mode is the same for 8- and 16-bit colour."""
    if image.format == "PNG" and len(content) > _PNG_BITS_AT:
        return content[_PNG_BITS_AT]
    samples = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE)
    if isinstance(samples, tuple) and samples and all(isinstance(n, int) for n in samples):
        return int(max(samples))
    return 16 if image.mode.startswith("I;16") else _MODE_BITS.get(image.mode, 8)


def _alpha(image: Image.Image) -> tuple[float, bool]:
    """Return the share of transparent pixels, and whether they hide content."""
    if image.mode not in _ALPHA_MODES and "transparency" not in image.info:
        return 0.0, False
    if image.mode not in _ALPHA_MODES and image.mode not in ("P", "RGB", "L", "1"):
        # Pillow cannot turn a transparent 16-bit grey level into alpha.
        return 0.0, False
    rgba = image.convert("RGBA")
    below = np.asarray(rgba.getchannel("A")) < _OPAQUE_FROM
    share = float(below.mean())
    if share == 0.0:
        return 0.0, False
    hidden = np.asarray(rgba.convert("RGB").convert("L"))[below]
    return share, bool(hidden.std() > _HIDDEN_CONTRAST)


def _grey_levels(image: Image.Image) -> tuple[Image.Image, NDArray[np.uint8]]:
    """Return a small grey image, and the grey levels, scaled if they have more than 8 bits."""
    if is_deep_grey(image):
        values = np.nan_to_num(np.asarray(image).astype(np.float64))
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) * (255 / (high - low) if high > low else 0)
        seen = scaled.astype(np.uint8)
        return _reduced(Image.fromarray(seen)), seen
    grey = _reduced(image.convert("L"))
    return grey, np.asarray(grey)


def _reduced(grey: Image.Image) -> Image.Image:
    """Reduce so that the shorter side keeps at least 128 pixels, enough for hashing."""
    factor = min(grey.size) // _SMALL_SIDE
    return grey.reduce(factor) if factor > 1 else grey


def _perceptual_hash(grey: Image.Image) -> int:
    # Imported here because it imports scipy, which takes half a second.
    import imagehash

    bits = imagehash.phash(grey).hash.flatten()
    return int.from_bytes(bytes(np.packbits(bits)), "big")
