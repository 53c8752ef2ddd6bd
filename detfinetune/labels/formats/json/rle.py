"""RLE masks: read, checked before any C code sees them, and encoded from pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from detfinetune.labels.dataset.records import RleMask
from detfinetune.labels.formats.json.json_values import shown, side
from detfinetune.labels.formats.raw_labels import BadLabel

BAD_MASK = "bad mask"
"""Kind of the problem of a mask that cannot be decoded or does not fit its image."""

LARGEST_MASK = 2**28
"""Most pixels of a mask that is unpacked here: 256 MiB."""

_MOST_PIXELS = 2**31
_MOST_CHARACTERS_A_NUMBER = 10


def read_rle(value: dict[str, Any]) -> RleMask:
    """Return the mask of a COCO `segmentation` that is an object.

    pycocotools may never return from lengths that do not fill the image, so that each is checked.

    Raises:
        BadLabel: the size or the counts are not those of a mask.
    """
    size, counts = value.get("size"), value.get("counts")
    sides = [side(item) for item in size] if isinstance(size, list) and len(size) == 2 else []
    if len(sides) != 2 or sides[0] is None or sides[1] is None:
        raise BadLabel(BAD_MASK, f"the mask's size is {shown(size)}, not [height, width]")
    height, width = sides[0], sides[1]
    if height * width >= _MOST_PIXELS:
        raise BadLabel(BAD_MASK, f"the mask's size, {height}x{width}, is too large")
    if isinstance(counts, str):
        lengths = _decompress(counts, height * width)
    elif isinstance(counts, list):
        if not all(type(count) is int and 0 <= count <= height * width for count in counts):
            raise BadLabel(BAD_MASK, "the mask's counts are not all whole numbers of pixels")
        lengths = np.array(counts, dtype=np.int64)
    else:
        raise BadLabel(BAD_MASK, f"the mask's counts are {shown(counts)}, not a list or a string")
    total = int(lengths.sum())
    if total != height * width:
        raise BadLabel(
            BAD_MASK, f"the mask's counts add up to {total} pixels, not {height} x {width}"
        )
    return RleMask((height, width), counts if isinstance(counts, str) else tuple(counts))


def tight_box(mask: RleMask) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 in pixels around the set pixels of a checked mask.

    Raises:
        BadLabel: no pixel is set.
    """
    height, width = mask.size
    lengths = (
        _decompress(mask.counts, height * width)
        if isinstance(mask.counts, str)
        else np.array(mask.counts, dtype=np.int64)
    )
    ends = np.cumsum(lengths)[1::2]
    starts = ends - lengths[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts] - 1
    if not len(starts):
        raise BadLabel("empty mask", "no pixel of the mask is set")
    # Columns follow each other: a run that continues in the next one spans the whole height.
    spans = starts // height != ends // height
    top = 0 if spans.any() else int((starts % height).min())
    bottom = height if spans.any() else int((ends % height).max()) + 1
    left, right = int(starts[0] // height), int(ends[-1] // height) + 1
    return float(left), float(top), float(right), float(bottom)


def encode_mask(pixels: NDArray[np.bool_]) -> RleMask:
    """Return the run lengths of a mask of shape (height, width)."""
    code = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    height, width = pixels.shape
    return RleMask((height, width), code["counts"].decode("ascii"))


def _decompress(code: str, pixels: int) -> NDArray[np.int64]:
    """Return the lengths of a compressed string (pycocotools' `rleFrString`, with checks).

    Each character carries five bits of a number, lowest first, and one that says whether another
    follows; from the fourth number on, each is the difference from the last but one.

    Raises:
        BadLabel: the string is not one that pycocotools wrote.
    """
    broken = BadLabel(BAD_MASK, "the mask's counts are not a string that pycocotools wrote")
    if not code or not code.isascii():
        raise broken
    bits = np.frombuffer(code.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    last = np.flatnonzero((bits & 0x20) == 0)
    if bits.min() < 0 or bits.max() > 63 or not len(last) or last[-1] != len(bits) - 1:
        raise broken
    first = np.concatenate(([0], last[:-1] + 1))
    digits = last - first + 1
    if digits.max() > _MOST_CHARACTERS_A_NUMBER:
        raise broken
    shift = 5 * (np.arange(len(bits)) - np.repeat(first, digits))
    lengths = np.add.reduceat((bits & 0x1F) << shift, first)
    lengths -= np.where(bits[last] & 0x10, np.int64(1) << (5 * digits), 0)
    if np.abs(lengths).max() > pixels:
        raise broken
    lengths[1::2] = np.cumsum(lengths[1::2])
    lengths[2::2] = np.cumsum(lengths[2::2])
    if lengths.min() < 0:
        raise broken
    return lengths
