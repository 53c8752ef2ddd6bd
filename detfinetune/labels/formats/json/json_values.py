"""What the JSON formats share: values of any type become numbers, names and polygons, or reasons.

Whatever a JSON text holds, the only exception is `BadLabel`.
"""

from __future__ import annotations

import math
from typing import Any

from detfinetune.labels.dataset.records import Polygon
from detfinetune.labels.formats.raw_labels import BadLabel, RawLabel, bounding_box

NOT_A_SHAPE = "not a box or polygon"
"""Kind of the problem of a shape without an area."""

_LONGEST_SHOWN = 60
_LARGEST_SIDE = 2**31


def shown(value: Any) -> str:
    """Return a value in a few characters of one line."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = clean(value) if isinstance(value, str) else repr(value)
    return one_line(f"'{text[:_LONGEST_SHOWN]}'" if isinstance(value, str) else text)


def one_line(text: str) -> str:
    """Return text without line ends, shortened where it is long."""
    text = " ".join(text[: 4 * _LONGEST_SHOWN].split())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def clean(text: str) -> str:
    """Return text that can be written as UTF-8 and be part of a path.

    JSON may hold halves of surrogate pairs and null characters; each becomes U+FFFD.
    """
    if text.isascii():
        return text.replace("\0", "\ufffd") if "\0" in text else text
    return (
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    )


def number(value: Any, name: str) -> float:
    """Return a JSON number as a finite float.

    Raises:
        BadLabel: it is another type, or not a finite number.
    """
    if type(value) is not float and type(value) is not int:
        if value is None:
            raise BadLabel("missing value", f"{name} is missing")
        raise BadLabel("not a number", f"{name} is {shown(value)}, not a number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise BadLabel("not finite", f"{name} is {shown(value)}, not a finite number")
    return result


def side(value: Any) -> int | None:
    """Return an image's width or height in pixels, or None where `value` is not one."""
    if type(value) is float and value.is_integer() and value < _LARGEST_SIDE:
        value = int(value)
    return value if type(value) is int and 0 < value < _LARGEST_SIDE else None


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """Return width and height in pixels, or None where one of them is not a size."""
    w, h = side(width), side(height)
    return (w, h) if w is not None and h is not None else None


def class_of(value: Any, name: str) -> str:
    """Return a class name; numbers are taken as names.

    Raises:
        BadLabel: there is none.
    """
    if isinstance(value, str) and value.strip():
        return clean(value.strip())
    if type(value) is int:
        return shown(value)
    if value is None or isinstance(value, str):
        raise BadLabel("no class", f"{name} is missing or empty")
    raise BadLabel("no class", f"{name} is {shown(value)}, not a name")


def pairs(value: Any, name: str) -> Polygon:
    """Return x0, y0, x1, y1, ... of a list of `[x, y]`.

    Raises:
        BadLabel: it is something else, or empty.
    """
    if not isinstance(value, list) or not value:
        raise BadLabel("missing value", f"{name} is {shown(value)}, not a list of points")
    flat = []
    for index, point in enumerate(value, start=1):
        if not isinstance(point, list) or len(point) != 2:
            raise BadLabel(
                "wrong number of values", f"point {index} of {name} is {shown(point)}, not [x, y]"
            )
        flat.append(number(point[0], f"x of point {index}"))
        flat.append(number(point[1], f"y of point {index}"))
    return tuple(flat)


def box_label(class_token: str, box: tuple[float, float, float, float], what: str) -> RawLabel:
    """Return the label of a box x, y, width, height; `what` names it in the ledger.

    Raises:
        BadLabel: its far corner is too large for a number.
    """
    x, y, w, h = box
    xyxy = (x, y, x + w, y + h)
    _check_finite(xyxy)
    return RawLabel(
        class_token,
        xyxy,
        form="xywh",
        text=f"{what}: {x:g} {y:g} {w:g} {h:g}",
    )


def polygon_label(class_token: str, polygons: tuple[Polygon, ...], what: str) -> RawLabel:
    """Return the label of polygons, with their bounding box; `what` names it in the ledger.

    Raises:
        BadLabel: a point is too large for a number.
    """
    for polygon in polygons:
        _check_finite(polygon)
    xyxy = bounding_box(polygons)
    around = " ".join(f"{value:g}" for value in xyxy)
    return RawLabel(class_token, xyxy, polygons, has_box=False, text=f"{what}: polygon in {around}")


def _check_finite(values: tuple[float, ...]) -> None:
    if not all(map(math.isfinite, values)):
        raise BadLabel("not finite", "a coordinate is too large for a number")


def last_component(path: str) -> str:
    """Return the file's name in a path or address written with slashes of either kind."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]
