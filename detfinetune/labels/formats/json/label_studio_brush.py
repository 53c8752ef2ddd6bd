"""Label Studio's brush strokes: the bits packed in `rle` become a mask.

The layout is that of the `rle-pack` package of thi.ng/umbrella, which Label Studio packs the RGBA
bytes of an image with: 32 bits say how many words there are, 5 bits the size of a word less one,
four times 4 bits a size of lengths less one. Then come chunks: one bit says whether a single word
is repeated or words follow one by one, 2 bits choose among the four sizes, and the length less one
is in so many bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.formats.json.json_values import shown
from detfinetune.labels.formats.json.rle import BAD_MASK, LARGEST_MASK
from detfinetune.labels.formats.raw_labels import BadLabel

_CHANNELS = 4
_HALF = 128
"""An edge pixel belongs to the stroke when half of it, or more, is covered."""

_TRUNCATED = BadLabel(BAD_MASK, "the brush's rle ends too soon")


def read_brush(rle: Any, width: int, height: int) -> NDArray[np.bool_]:
    """Return the mask of shape (height, width) that a brush's `rle`, a list of bytes, holds.

    Raises:
        BadLabel: it is not that, or has another size.
    """
    if not isinstance(rle, list) or not all(type(v) is int and 0 <= v <= 255 for v in rle):
        raise BadLabel(BAD_MASK, f"the brush's rle is {shown(rle)}, not a list of bytes")
    words = width * height * _CHANNELS
    if words > LARGEST_MASK:
        raise BadLabel(BAD_MASK, f"an image of {width}x{height} is too large for a brush")
    bits = _Bits(bytes(rle))
    num_words, word_bits = bits.take(32), bits.take(5) + 1
    if num_words != words or word_bits != 8:
        raise BadLabel(
            BAD_MASK,
            f"the brush's rle has {num_words} words of {word_bits} bits; an image of "
            f"{width}x{height} has {words} of 8",
        )
    length_bits = [bits.take(4) + 1 for _ in range(4)]
    values = np.zeros(words, dtype=np.uint8)
    at = 0
    while at < words:
        repeated = bits.take(1)
        length = bits.take(length_bits[bits.take(2)]) + 1
        if at + length > words:
            raise BadLabel(BAD_MASK, "the brush's rle holds more than the image")
        if repeated:
            values[at : at + length] = bits.take(8)
        else:
            chunk = bits.take(8 * length).to_bytes(length, "big")
            values[at : at + length] = np.frombuffer(chunk, dtype=np.uint8)
        at += length
    opaque: NDArray[np.bool_] = values.reshape(height, width, _CHANNELS)[:, :, -1] >= _HALF
    return opaque


class _Bits:
    """Bits in the order in which they were packed, highest first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number.

        Raises:
            BadLabel: there are fewer.
        """
        first, last = self._at >> 3, (self._at + count + 7) >> 3
        if last > len(self._data):
            raise _TRUNCATED
        spare = 8 * last - self._at - count
        self._at += count
        chunk = int.from_bytes(self._data[first:last], "big")
        return (chunk >> spare) & ((1 << count) - 1)
