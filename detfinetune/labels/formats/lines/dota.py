"""DOTA labels: `x1 y1 x2 y2 x3 y3 x4 y4 class difficult`, four corners of a rotated box in pixels.

One file an image; two header lines may give the source of the image and the metres a pixel
spans (`imagesource:GoogleEarth`, `gsd:0.146`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from detfinetune.labels.formats.lines.tokens import is_number, to_number
from detfinetune.labels.formats.raw_labels import BadLabel, RawLabel, bounding_box

_HEADER = re.compile(r"\s*(imagesource|gsd)\s*[:=].*", re.IGNORECASE)
_SEPARATOR = re.compile(r"[\s,;]+")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_AROUND = " \t,;"
_NUMBERS = 8
_DIFFICULT = frozenset({"0", "1", "2"})
_MOSTLY = 0.5


def is_dota_header(line: str) -> bool:
    """Whether a line is one of the two header lines."""
    return _HEADER.fullmatch(line.strip()) is not None


def parse_dota_line(line: str) -> RawLabel:
    """Read one object: a polygon of four corners and its bounding box.

    The class is everything after the eighth number, so it may hold spaces and dashes, except a last
    word 0, 1 or 2: that is DOTA's mark for difficult objects, which are kept like others. Without
    that mark, a name that ends in such a word (`tank 2`) loses it.

    Raises:
        BadLabel: fewer than eight coordinates, one that is not a finite number, or no class.
    """
    parts = _parts(line)
    if len(parts) <= _NUMBERS:
        count = len([part for part in parts if part])
        raise BadLabel(
            "too few columns",
            f"{count} value{'s' * (count != 1)}; a DOTA line has four corners and a class "
            "(x1 y1 x2 y2 x3 y3 x4 y4 class difficult)",
        )
    points = tuple(
        to_number(part, f"{'xy'[index % 2]} of corner {index // 2 + 1}")
        for index, part in enumerate(parts[:_NUMBERS])
    )
    name = _class_of(parts[_NUMBERS])
    if not name:
        raise BadLabel("no class", "the class after the four corners is empty")
    return RawLabel(name, bounding_box((points,)), polygons=(points,), has_box=False)


def detect_dota(lines: Sequence[str]) -> str:
    """Return by what the lines of a file are known as DOTA's, or nothing.

    Lines of numbers alone are not enough: YOLO has such polygons, too.
    """
    if any(is_dota_header(line) for line in lines[:3]):
        return "a header line of DOTA (imagesource or gsd)"
    lines = [line for line in lines if line.strip()]
    matching = sum(map(_is_object, lines))
    return "eight coordinates and a class name a line" if matching > _MOSTLY * len(lines) else ""


def _is_object(line: str) -> bool:
    parts = _parts(line)
    return (
        len(parts) > _NUMBERS
        and all(map(is_number, parts[:_NUMBERS]))
        and not all(map(is_number, parts[_NUMBERS].split()))
    )


def _parts(line: str) -> list[str]:
    """Return the eight coordinates and the rest of the line, or fewer values.

    Spaces separate values, and a comma in a number is a decimal comma; commas separate values only
    where spaces do not.
    """
    parts = line.strip(_AROUND).split(None, _NUMBERS)
    first = parts[0].strip(_AROUND) if parts else ""
    if not (is_number(first) or _DECIMAL_COMMA.fullmatch(first)):
        return _SEPARATOR.split(line.strip(_AROUND), maxsplit=_NUMBERS)
    numbers = (part.strip(_AROUND) for part in parts[:_NUMBERS])
    return [
        *(n.replace(",", ".") if _DECIMAL_COMMA.fullmatch(n) else n for n in numbers),
        *parts[_NUMBERS:],
    ]


def _class_of(rest: str) -> str:
    """Return the class name in what follows the corners."""
    rest = rest.strip(_AROUND)
    words = _SEPARATOR.split(rest)
    if len(words) > 1 and words[-1] in _DIFFICULT:
        rest = rest[: -len(words[-1])]
    return rest.strip(_AROUND + "\"'")
