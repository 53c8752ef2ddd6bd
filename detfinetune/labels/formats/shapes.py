"""Shapes that formats give by a few numbers, as polygons.

x runs to the right and y down, so a positive angle turns clockwise to the eye.
"""

from __future__ import annotations

import math

from detfinetune.labels.dataset.records import Polygon
from detfinetune.labels.formats.raw_labels import BadLabel

ELLIPSE_POINTS = 32
"""Corners of the polygon for an ellipse, on it; 0.6 % of the ellipse's area lies outside of it."""


def rotated_box(cx: float, cy: float, width: float, height: float, angle: float) -> Polygon:
    """Return the four corners of a box that is rotated about its centre by `angle` radians.

    In the order top left, top right, bottom right, bottom left of the box before rotation.

    Raises:
        BadLabel: the corners are too far away for a float.
    """
    w, h = width / 2, height / 2
    return _rotated(cx, cy, ((-w, -h), (w, -h), (w, h), (-w, h)), angle)


def ellipse(cx: float, cy: float, rx: float, ry: float, angle: float = 0.0) -> Polygon:
    """Return points on an ellipse with half axes `rx` and `ry`, rotated by `angle` radians.

    The ends of both axes are among the points, so the bounding box of an upright one is exact.

    Raises:
        BadLabel: the points are too far away for a float.
    """
    steps = [2 * math.pi * index / ELLIPSE_POINTS for index in range(ELLIPSE_POINTS)]
    return _rotated(cx, cy, tuple((rx * math.cos(t), ry * math.sin(t)) for t in steps), angle)


def _rotated(
    cx: float, cy: float, offsets: tuple[tuple[float, float], ...], angle: float
) -> Polygon:
    cos, sin = math.cos(angle), math.sin(angle)
    polygon = tuple(
        value
        for dx, dy in offsets
        for value in (cx + cos * dx - sin * dy, cy + sin * dx + cos * dy)
    )
    if not all(map(math.isfinite, polygon)):
        raise BadLabel("not finite", "its numbers are too large")
    return polygon
