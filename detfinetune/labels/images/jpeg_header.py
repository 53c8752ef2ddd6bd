"""The size of a usual JPEG from its first bytes, several times as fast as through Pillow.

This reads only what it is sure of. For anything else (padding between segments, several EXIF
blocks, an orientation in XMP, multi-picture files, a missing end, damage of any kind) it says
nothing, and Pillow decides: it is Pillow that opens the image in training, so where this answers,
it must answer as Pillow does. Segments: ITU-T T.81, annex B; EXIF: JEITA CP-3451, 4.6.
"""

from __future__ import annotations

import struct
from pathlib import Path

HEAD_BYTES = 1 << 12
_LONGEST_HEAD_BYTES = 1 << 18
_MOST_PIXELS = 50_000_000
_MARKER = struct.Struct(">HH")
_FRAME = struct.Struct(">BHHB")

_START_OF_IMAGE = b"\xff\xd8"
_END_OF_IMAGE = b"\xff\xd9"
_FRAMES = frozenset({0xFFC0, 0xFFC1, 0xFFC2})
_PASSED_OVER = frozenset({0xFFC4, 0xFFDD, 0xFFFE})
"""Huffman tables, restart interval, comment."""

_SCAN, _QUANTIZATION = 0xFFDA, 0xFFDB
_APP0, _EXIF_OR_XMP, _APP2 = 0xFFE0, 0xFFE1, 0xFFE2
_PHOTOSHOP, _ADOBE, _APP15 = 0xFFED, 0xFFEE, 0xFFEF

_EXIF = b"Exif\0\0"
_ORIENTATION, _X_RESOLUTION, _RESOLUTION_UNIT = 0x0112, 0x011A, 0x0128
_SHORT, _RATIONAL = 3, 5
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_EXPECTED = {
    _ORIENTATION: (_SHORT, 1),
    _X_RESOLUTION: (_RATIONAL, 1),
    _RESOLUTION_UNIT: (_SHORT, 1),
}


class _Unsure(Exception):
    """Something that Pillow has to look at."""


def read_jpeg_size(path: Path) -> tuple[int, int] | None:
    """Return width and height in pixels as seen after turning by EXIF; None where unsure.

    The file's first 4 KB and its last two bytes are read, and more of its beginning where the
    segments before the pixels are longer, up to 256 KB.

    Raises:
        OSError: the file cannot be opened or read.
    """
    with path.open("rb", buffering=0) as stream:
        head = stream.read(HEAD_BYTES)
        if not head.startswith(_START_OF_IMAGE):
            return None
        if len(head) < HEAD_BYTES:
            end = head[-2:]
        else:
            stream.seek(-2, 2)
            end = stream.read(2)
        if end != _END_OF_IMAGE:
            return None
        try:
            try:
                return _walk(head)
            except (IndexError, struct.error):
                # The segments go on behind what was read.
                if len(head) < HEAD_BYTES:
                    return None
            stream.seek(0)
            return _walk(stream.read(_LONGEST_HEAD_BYTES))
        except (_Unsure, IndexError, struct.error):
            return None


def _walk(head: bytes) -> tuple[int, int]:
    """Return the turned size, having seen every segment up to the first scan.

    Raises:
        _Unsure: something unusual.
        IndexError, struct.error: `head` ends before the first scan begins.
    """
    position = 2
    size: tuple[int, int] | None = None
    orientation: int | None = None
    while True:
        marker, length = _MARKER.unpack_from(head, position)
        start, position = position + 4, position + 2 + length
        if length < 2:
            raise _Unsure
        head[position - 1]  # a segment that is not all there
        if marker == _SCAN:
            break
        if marker in _FRAMES:
            if size is not None:
                raise _Unsure
            size = _frame_size(head, start, position)
        elif marker == _EXIF_OR_XMP:
            found = _app1_orientation(head[start:position])
            if found is not None and orientation is not None:
                raise _Unsure
            orientation = found if orientation is None else orientation
        elif marker not in _PASSED_OVER:
            _check_segment(marker, head[start:position])
    if size is None:
        raise _Unsure
    turned = orientation is not None and 5 <= orientation <= 8
    return (size[1], size[0]) if turned else size


def _frame_size(head: bytes, start: int, end: int) -> tuple[int, int]:
    bits, height, width, layers = _FRAME.unpack_from(head, start)
    usual = bits == 8 and layers in (1, 3, 4) and end - start == 6 + 3 * layers
    # Above a limit Pillow refuses images, so the largest are left to it.
    if not usual or width == 0 or height == 0 or width * height > _MOST_PIXELS:
        raise _Unsure
    return width, height


def _check_segment(marker: int, body: bytes) -> None:
    """Leave to Pillow what it looks into, and might stumble over."""
    if marker == _QUANTIZATION:
        # Tables of 8 bits, one behind the other, each behind a byte with its number.
        unsure = len(body) % 65 != 0 or max(body[::65], default=0) > 15
    elif marker == _APP0:
        unsure = body.startswith(b"JFIF") and len(body) < 14
    elif marker == _APP2:
        unsure = body.startswith(b"MPF\0") or (body.startswith(b"ICC_PROFILE") and len(body) < 14)
    elif marker == _ADOBE:
        unsure = body.startswith(b"Adobe") and len(body) < 12
    elif marker == _PHOTOSHOP:
        unsure = body.startswith(b"Photoshop 3.0\0")
    else:
        unsure = not _APP0 <= marker <= _APP15
    if unsure:
        raise _Unsure


def _app1_orientation(body: bytes) -> int | None:
    """Return the orientation of an EXIF block (1 where it has none), None for other blocks."""
    if not body.startswith(_EXIF):
        if b"Orientation" in body:
            raise _Unsure
        return None
    block = body[len(_EXIF) :]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        raise _Unsure
    try:
        return _ifd0_orientation(block, order)
    except struct.error as error:
        raise _Unsure from error


def _ifd0_orientation(block: bytes, order: str) -> int:
    """Return tag 0x0112 of a TIFF block's first directory, 1 where it has none.

    Every entry must lie inside the block, because Pillow stops at the first that does not.
    """
    (first,) = struct.unpack_from(order + "I", block, 4)
    (count,) = struct.unpack_from(order + "H", block, first)
    entry = struct.Struct(order + "HHI")
    orientation: int | None = None
    for at in range(first + 2, first + 2 + 12 * count, 12):
        tag, kind, length = entry.unpack_from(block, at)
        num_bytes = _TYPE_BYTES.get(kind, 0) * length
        if num_bytes == 0 or (tag in _EXPECTED and _EXPECTED[tag] != (kind, length)):
            raise _Unsure
        (offset,) = struct.unpack_from(order + "I", block, at + 8)
        if num_bytes > 4 and offset + num_bytes > len(block):
            raise _Unsure
        if tag == _ORIENTATION:
            if orientation is not None:
                raise _Unsure
            (orientation,) = struct.unpack_from(order + "H", block, at + 8)
    return 1 if orientation is None else orientation
