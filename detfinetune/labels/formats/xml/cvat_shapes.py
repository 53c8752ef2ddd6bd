"""CVAT's shapes, one XML element each, as labels."""

from __future__ import annotations

import math
import re
from typing import NoReturn
from xml.etree.ElementTree import Element

import numpy as np

from detfinetune.labels.dataset.records import Polygon, RleMask
from detfinetune.labels.formats.raw_labels import BadLabel, RawLabel, RawProblem, hull
from detfinetune.labels.formats.shapes import ellipse, rotated_box
from detfinetune.labels.formats.xml.xml_text import class_name, number, one_line

SHAPES = frozenset(
    ("box", "polygon", "mask", "ellipse", "polyline", "points", "cuboid", "skeleton")
)
"""Every shape that CVAT writes; the last four are no box and no outline."""

_LARGEST_WINDOW = 2**27
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
        "not a box or outline",
        f"a <{one_line(element.tag)}> is neither a box nor an outline nor a mask",
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
        # CVAT turns a box about its centre.
        outline = rotated_box(x1 / 2 + x2 / 2, y1 / 2 + y2 / 2, x2 - x1, y2 - y1, angle)
        return _outlined(outline, f"{name} turned box", name, line)
    shown = one_line(f"{name} {' '.join(texts)}")
    return RawLabel(name, (x1, y1, x2, y2), line=line, text=shown)


def _read_polygon(element: Element, name: str, line: int, _: tuple[int, int] | None) -> RawLabel:
    points = _attribute(element, "points")
    if _PLAIN_POINTS.fullmatch(points):
        outline = tuple(map(float, points.replace(";", ",").split(",")))
    else:
        outline = _odd_points(points)
    if len(outline) < 6:
        raise BadLabel("too few points", f"the <polygon> has {len(outline) // 2}; it takes 3")
    return _outlined(outline, f"{name} polygon", name, line)


def _odd_points(points: str) -> Polygon:
    """Read points that are not written as CVAT does it, or say what is wrong with them."""
    values = []
    for index, point in enumerate(points.strip().strip(";").split(";"), start=1):
        pair = point.split(",")
        if len(pair) != 2:
            raise BadLabel("odd outline", f"point {index} is '{one_line(point)}', not 'x,y'")
        values += [
            number(text, f"{axis} of point {index}") for axis, text in zip("xy", pair, strict=True)
        ]
    return tuple(values)


def _read_ellipse(element: Element, name: str, line: int, _: tuple[int, int] | None) -> RawLabel:
    cx, cy, rx, ry = (number(_attribute(element, k), k) for k in ("cx", "cy", "rx", "ry"))
    if rx < 0 or ry < 0:
        raise BadLabel("negative size", f"half axes of {rx:g} and {ry:g} px: negative size")
    return _outlined(ellipse(cx, cy, rx, ry, _angle(element)), f"{name} ellipse", name, line)


def _outlined(outline: Polygon, shown: str, name: str, line: int) -> RawLabel:
    corners = hull((outline,))
    around = " ".join(f"{corner:g}" for corner in corners)
    text = one_line(f"{shown} in {around}")
    return RawLabel(name, corners, (outline,), has_box=False, line=line, text=text)


def _read_mask(element: Element, name: str, line: int, size: tuple[int, int] | None) -> RawLabel:
    left, top, width, height = (_whole(element, k) for k in ("left", "top", "width", "height"))
    text = _attribute(element, "rle")
    if not _LENGTHS.fullmatch(text):
        raise BadLabel("bad mask", f"its rle '{one_line(text)}' is no list of lengths")
    if size is None:
        raise BadLabel("bad mask", "the image's width and height, which its rle needs, are missing")
    if size[0] * size[1] >= _LARGEST_IMAGE or width * height > _LARGEST_WINDOW:
        raise BadLabel("bad mask", f"its window of {width}x{height} px is larger than any picture")
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
    mask, corners = _place(rows, left, top, size)
    shown = one_line(f"{name} mask in {' '.join(f'{corner:g}' for corner in corners)}")
    return RawLabel(name, corners, has_box=False, mask=mask, line=line, text=shown)


def _whole(element: Element, key: str) -> int:
    value = _attribute(element, key)
    if not _WHOLE.fullmatch(value):
        raise BadLabel("not a number", f"{key} is '{one_line(value)}', not a whole number")
    return int(value.partition(".")[0])


def _place(
    window: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    left: int,
    top: int,
    size: tuple[int, int],
) -> tuple[RleMask, tuple[float, float, float, float]]:
    """Return a mask of (height, width) as run lengths of its whole image, and its tight box.

    Args:
        left, top: where in the image the window's first pixel lies.
        size: width and height of the image.

    Raises:
        BadLabel: no pixel is set.
    """
    if not window.any():
        raise BadLabel("empty mask", "not a pixel of the mask is set")
    height = window.shape[0]
    # Column by column, with an empty pixel around each, so that every run starts and ends in it.
    padded = np.zeros((window.shape[1], height + 2), dtype=np.int8)
    padded[:, 1:-1] = window.T
    steps = np.diff(padded.ravel())
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    columns, first_rows = np.divmod(starts, height + 2)
    last_rows = ends % (height + 2)
    x1, x2 = left + int(columns[0]), left + int(columns[-1]) + 1
    y1, y2 = top + int(first_rows.min()), top + int(last_rows.max())
    image_width, image_height = size
    begins = (left + columns) * image_height + top + first_rows
    stops = (left + columns) * image_height + top + last_rows
    # Runs through the whole height of neighbouring columns are one run.
    apart = begins[1:] != stops[:-1]
    begins, stops = begins[np.r_[True, apart]], stops[np.r_[apart, True]]
    edges = np.column_stack((begins, stops)).ravel()
    counts = np.diff(edges, prepend=0).tolist()
    rest = image_width * image_height - int(edges[-1])
    counts += [rest] if rest else []
    corners = (float(x1), float(y1), float(x2), float(y2))
    return RleMask((image_height, image_width), tuple(counts)), corners


_READERS = {
    "box": _read_box,
    "polygon": _read_polygon,
    "ellipse": _read_ellipse,
    "mask": _read_mask,
}
