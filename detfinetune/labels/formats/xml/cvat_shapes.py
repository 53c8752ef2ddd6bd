"""CVAT's shapes, one XML element each, as labels."""

from __future__ import annotations

import math
import re
from typing import NoReturn
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.dataset.records import Polygon, RleMask
from detfinetune.labels.formats.json.rle import LARGEST_MASK
from detfinetune.labels.formats.raw_labels import BadLabel, RawLabel, RawProblem, bounding_box
from detfinetune.labels.formats.shapes import ellipse, rotated_box
from detfinetune.labels.formats.xml.xml_text import class_name, number, one_line

SHAPES = frozenset(
    ("box", "polygon", "mask", "ellipse", "polyline", "points", "cuboid", "skeleton")
)
"""Every shape that CVAT writes; the last four are neither box nor polygon."""

_LARGEST_IMAGE = 2**31
_COORDINATE = r"-?\d{1,15}(?:\.\d{0,15})?"
_PLAIN_POINTS = re.compile(rf"{_COORDINATE},{_COORDINATE}(?:;{_COORDINATE},{_COORDINATE})*", re.A)
_WHOLE = re.compile(r"\s*-?\d{1,10}(?:\.0*)?\s*", re.ASCII)
_LENGTHS = re.compile(r"\s*\d{1,10}(?:\s*,\s*\d{1,10})*\s*,?\s*", re.ASCII)


def read_shape(
    element: Element, label: str | None, line: int, size: tuple[int, int] | None
) -> RawLabel | RawProblem:
    """Return a shape as a label, or as a problem with the reason.

    Args:
        element: a shape of `<image>` or `<track>`.
        label: its class as written.
        line: on which it starts.
        size: width and height of its image in pixels; a mask needs them.
    """
    name = class_name(label)
    try:
        return _READERS.get(element.tag, _no_shape)(element, name, line, size)
    except BadLabel as bad:
        values = " ".join(f"{key}={one_line(value)}" for key, value in element.attrib.items())
        shown = one_line(f"{name} {element.tag} {values}")
        return RawProblem(line, bad.kind, str(bad), shown)


def _no_shape(element: Element, *_: object) -> NoReturn:
    raise BadLabel(
        "not a box or polygon",
        f"a <{one_line(element.tag)}> is not a box, a polygon or a mask",
    )


def _attribute(element: Element, key: str) -> str:
    try:
        return element.attrib[key]
    except KeyError:
        raise BadLabel("no box", f"the <{element.tag}> has no {key}") from None


def _angle(element: Element) -> float:
    """Return the attribute `rotation`, in degrees clockwise, in radians."""
    rotation = element.get("rotation")
    return math.radians(number(rotation, "rotation") % 360) if rotation else 0.0


def _read_box(element: Element, name: str, line: int, _: tuple[int, int] | None) -> RawLabel:
    texts = [_attribute(element, key) for key in ("xtl", "ytl", "xbr", "ybr")]
    x1, y1 = number(texts[0], "xtl"), number(texts[1], "ytl")
    x2, y2 = number(texts[2], "xbr"), number(texts[3], "ybr")
    if angle := _angle(element):
        # CVAT rotates a box about its centre.
        polygon = rotated_box(x1 / 2 + x2 / 2, y1 / 2 + y2 / 2, x2 - x1, y2 - y1, angle)
        return _polygon_label(polygon, f"{name} rotated box", name, line)
    shown = one_line(f"{name} {' '.join(texts)}")
    return RawLabel(name, (x1, y1, x2, y2), line=line, text=shown)


def _read_polygon(element: Element, name: str, line: int, _: tuple[int, int] | None) -> RawLabel:
    points = _attribute(element, "points")
    if _PLAIN_POINTS.fullmatch(points):
        polygon = tuple(map(float, points.replace(";", ",").split(",")))
    else:
        polygon = _unusual_points(points)
    if len(polygon) < 6:
        raise BadLabel("too few points", f"the <polygon> has {len(polygon) // 2}; it takes 3")
    return _polygon_label(polygon, f"{name} polygon", name, line)


def _unusual_points(points: str) -> Polygon:
    """Read points that are not written as CVAT writes them, or say what is wrong with them."""
    values = []
    for index, point in enumerate(points.strip().strip(";").split(";"), start=1):
        pair = point.split(",")
        if len(pair) != 2:
            raise BadLabel("bad polygon", f"point {index} is '{one_line(point)}', not 'x,y'")
        values += [
            number(text, f"{axis} of point {index}") for axis, text in zip("xy", pair, strict=True)
        ]
    return tuple(values)


def _read_ellipse(element: Element, name: str, line: int, _: tuple[int, int] | None) -> RawLabel:
    cx, cy, rx, ry = (number(_attribute(element, k), k) for k in ("cx", "cy", "rx", "ry"))
    if rx < 0 or ry < 0:
        raise BadLabel("negative size", f"half axes of {rx:g} and {ry:g} px: negative size")
    return _polygon_label(ellipse(cx, cy, rx, ry, _angle(element)), f"{name} ellipse", name, line)


def _polygon_label(polygon: Polygon, shown: str, name: str, line: int) -> RawLabel:
    xyxy = bounding_box((polygon,))
    around = " ".join(f"{corner:g}" for corner in xyxy)
    text = one_line(f"{shown} in {around}")
    return RawLabel(name, xyxy, (polygon,), has_box=False, line=line, text=text)


def _read_mask(element: Element, name: str, line: int, size: tuple[int, int] | None) -> RawLabel:
    left, top, width, height = (_whole(element, k) for k in ("left", "top", "width", "height"))
    text = _attribute(element, "rle")
    if not _LENGTHS.fullmatch(text):
        raise BadLabel("bad mask", f"its rle '{one_line(text)}' is not a list of run lengths")
    if size is None:
        raise BadLabel("bad mask", "the image's width and height, which its rle needs, are missing")
    if size[0] * size[1] >= _LARGEST_IMAGE or width * max(height, size[1]) > LARGEST_MASK:
        raise BadLabel(
            "bad mask", f"its window of {width}x{height} px, or its image, is too large for a mask"
        )
    if not (0 <= left <= left + width <= size[0] and 0 <= top <= top + height <= size[1]):
        raise BadLabel(
            "bad mask",
            f"its window, {width}x{height} px at {left},{top}, is not inside the "
            f"{size[0]}x{size[1]} image",
        )
    lengths = [int(length) for length in text.split(",") if length.strip()]
    if sum(lengths) != width * height:
        raise BadLabel(
            "bad mask", f"its rle adds up to {sum(lengths)} px; the window has {width * height}"
        )
    rows = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(height, width)
    mask, xyxy = _place(rows, left, top, size)
    shown = one_line(f"{name} mask in {' '.join(f'{corner:g}' for corner in xyxy)}")
    return RawLabel(name, xyxy, has_box=False, mask=mask, line=line, text=shown)


def _whole(element: Element, key: str) -> int:
    value = _attribute(element, key)
    if not _WHOLE.fullmatch(value):
        raise BadLabel("not a number", f"{key} is '{one_line(value)}', not a whole number")
    return int(value.partition(".")[0])


def _place(
    window: NDArray[np.bool_], left: int, top: int, size: tuple[int, int]
) -> tuple[RleMask, tuple[float, float, float, float]]:
    """Return a mask of (height, width) as run lengths of its whole image, and its tight box.

    Args:
        left, top: where in the image the window's first pixel lies.
        size: width and height of the image.

    Raises:
        BadLabel: no pixel is set.
    """
    if not window.any():
        raise BadLabel("empty mask", "no pixel of the mask is set")
    width, height = size
    # Run lengths go column by column.
    columns = np.zeros((window.shape[1], height), dtype=np.int8)
    columns[:, top : top + window.shape[0]] = window.T
    edges = left * height + np.flatnonzero(np.diff(columns.ravel(), prepend=0, append=0))
    counts = np.diff(edges, prepend=0).tolist()
    rest = width * height - int(edges[-1])
    counts += [rest] if rest else []
    xs, ys = np.flatnonzero(window.any(axis=0)), np.flatnonzero(window.any(axis=1))
    xyxy = (left + xs[0], top + ys[0], left + xs[-1] + 1, top + ys[-1] + 1)
    x1, y1, x2, y2 = map(float, xyxy)
    return RleMask((height, width), tuple(counts)), (x1, y1, x2, y2)


_READERS = {
    "box": _read_box,
    "polygon": _read_polygon,
    "ellipse": _read_ellipse,
    "mask": _read_mask,
}
