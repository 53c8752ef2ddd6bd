"""The rules for one object's box and polygons: what is kept, fixed or rejected.

- swapped corners are put in order (a fix); a negative width or height is rejected
- what extends outside the image is clipped; up to half a pixel counts as rounding, more as a fix
- what lies entirely outside, or has no width, height or area left, is rejected
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.dataset.masks import polygon_area
from detfinetune.labels.dataset.records import Box, Polygon
from detfinetune.labels.formats.raw_labels import BadLabel

ROUNDING_PIXELS = 0.5
"""How far outside the image a coordinate may lie and still count as rounding."""

SMALLEST_PIXELS = 0.01
"""A smaller width or height counts as zero: a normalized value of six decimals cannot hold it."""

_DIGITS = 3


@dataclass(frozen=True)
class CheckedShape:
    """A box and polygons inside their image, and what was fixed."""

    bbox: Box
    polygons: tuple[Polygon, ...] = ()
    fixes: tuple[tuple[str, str], ...] = ()
    """Kind and reason of each fix."""


def check_box(
    xyxy: Sequence[float], width: int, height: int, *, sized: bool = False
) -> CheckedShape:
    """Return the box x1, y1, x2, y2 (pixels) clipped to an image of `width` x `height` pixels.

    Raises:
        BadLabel: nothing of the box can be used.
    """
    x1, y1, x2, y2 = xyxy
    fixes = []
    if x2 < x1 or y2 < y1:
        if sized:
            raise BadLabel(
                "negative size", f"width {x2 - x1:g} and height {y2 - y1:g} px are negative"
            )
        fixes.append(("swapped corners", "corners are swapped: the first is not the top left one"))
        x1, x2 = min(x1, x2), max(x1, x2)
        y1, y2 = min(y1, y2), max(y1, y2)
    if x2 - x1 < SMALLEST_PIXELS or y2 - y1 < SMALLEST_PIXELS:
        raise BadLabel("zero size", f"width {x2 - x1:.3g} and height {y2 - y1:.3g} px: no area")
    shown = f"box {x1:.1f},{y1:.1f} to {x2:.1f},{y2:.1f}"
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        raise BadLabel("outside", f"{shown} lies entirely outside the {width}x{height} image")
    if _overshoot((x1, y1, x2, y2), width, height) >= ROUNDING_PIXELS:
        fixes.append(("clipped", f"{shown} extends outside the {width}x{height} image: clipped"))
    x1, x2 = (round(min(max(x, 0.0), width), _DIGITS) for x in (x1, x2))
    y1, y2 = (round(min(max(y, 0.0), height), _DIGITS) for y in (y1, y2))
    if x2 - x1 < SMALLEST_PIXELS or y2 - y1 < SMALLEST_PIXELS:
        raise BadLabel("zero size", f"{shown} has no area left in the {width}x{height} image")
    bbox = (x1, y1, round(x2 - x1, _DIGITS), round(y2 - y1, _DIGITS))
    return CheckedShape(bbox, fixes=tuple(fixes))


def check_boxes(
    xyxy: NDArray[np.float64], sizes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Do what `check_box` does for many boxes at once; those that need a fix are left to it.

    Args:
        xyxy: x1, y1, x2, y2 in pixels, (boxes, 4).
        sizes: width and height of each one's image in pixels, (boxes, 2).

    Returns:
        XYWH as `check_box` gives them, (boxes, 4), and which boxes need no fix.
    """
    limits = np.concatenate((sizes, sizes), axis=1)
    with np.errstate(invalid="ignore"):
        overshoot = np.maximum(-xyxy, xyxy - limits).max(axis=1, initial=-np.inf)
        clipped = np.round(np.minimum(np.maximum(xyxy, 0.0), limits), _DIGITS)
        extent = np.round(clipped[:, 2:] - clipped[:, :2], _DIGITS)
        good = (
            (xyxy[:, 2:] - xyxy[:, :2] >= SMALLEST_PIXELS).all(axis=1)
            & (extent >= SMALLEST_PIXELS).all(axis=1)
            & (overshoot < ROUNDING_PIXELS)
        )
    return np.concatenate((clipped[:, :2], extent), axis=1), good


def check_polygons(
    polygons: Sequence[Polygon],
    width: int,
    height: int,
    box: Sequence[float] | None = None,
    *,
    sized: bool = False,
) -> CheckedShape:
    """Return an object's polygons clipped to the image, with its box.

    Args:
        polygons: each x0, y0, x1, y1, ... in pixels.
        width: of the image in pixels.
        height: of the image in pixels.
        box: x1, y1, x2, y2 if the labels give one beside the polygons; None: their bounding box.
        sized: whether it is given by width and height, which may not be negative.

    Raises:
        BadLabel: the box, or all polygons, cannot be used.
    """
    good = []
    problems = []
    for polygon in polygons:
        try:
            good.append(check_polygon(polygon, width, height))
        except BadLabel as problem:
            problems.append(problem)
    if not good and box is None:
        raise problems[0]
    if not good and box is not None:
        # The box is still an object. Its polygons without area are kept: without any, the whole
        # data set would count as one without masks.
        checked = check_box(box, width, height, sized=sized)
        return CheckedShape(
            checked.bbox, tuple(_clamped(p, width, height) for p in polygons), checked.fixes
        )
    fixes = list(dict.fromkeys(fix for shape in good for fix in shape.fixes))
    if problems:
        fixes.append(
            ("part left out", f"{len(problems)} of {len(polygons)} polygons: {problems[0]}")
        )
    polygons = tuple(shape.polygons[0] for shape in good)
    if box is not None:
        checked = check_box(box, width, height, sized=sized)
        fixes += [fix for fix in checked.fixes if fix not in fixes]
        return CheckedShape(checked.bbox, polygons, tuple(fixes))
    if len(good) == 1:
        return CheckedShape(good[0].bbox, polygons, tuple(fixes))
    left, top = (min(shape.bbox[i] for shape in good) for i in (0, 1))
    right, bottom = (max(shape.bbox[i] + shape.bbox[i + 2] for shape in good) for i in (0, 1))
    bbox = (left, top, round(right - left, _DIGITS), round(bottom - top, _DIGITS))
    return CheckedShape(bbox, polygons, tuple(fixes))


def _clamped(polygon: Polygon, width: int, height: int) -> Polygon:
    return tuple(min(max(v, 0.0), float((width, height)[i % 2])) for i, v in enumerate(polygon))


def check_polygon(polygon: Polygon, width: int, height: int) -> CheckedShape:
    """Return the polygon x0, y0, x1, y1, ... (pixels) clipped to the image, with its bounding box.

    Raises:
        BadLabel: nothing of the polygon can be used.
    """
    points = list(zip(polygon[0::2], polygon[1::2], strict=True))
    if len(set(points)) < 3:
        raise BadLabel("zero size", f"a polygon of {len(set(points))} different points has no area")
    xs, ys = polygon[0::2], polygon[1::2]
    bounding_box = (min(xs), min(ys), max(xs), max(ys))
    # The polygon gets the same messages as its bounding box would.
    fixes = check_box(bounding_box, width, height).fixes
    if fixes:
        points = _clip(points, width, height)
    flat = tuple(
        round(min(max(value, 0.0), limit), _DIGITS)
        for point in points
        for value, limit in zip(point, (width, height), strict=True)
    )
    if len(flat) < 6 or polygon_area(flat) < SMALLEST_PIXELS:
        raise BadLabel("zero size", f"the polygon has no area inside the {width}x{height} image")
    xs, ys = flat[0::2], flat[1::2]
    return CheckedShape(
        check_box((min(xs), min(ys), max(xs), max(ys)), width, height).bbox, (flat,), fixes
    )


def _overshoot(xyxy: Sequence[float], width: int, height: int) -> float:
    x1, y1, x2, y2 = xyxy
    return max(-x1, -y1, x2 - width, y2 - height)


def _clip(points: list[tuple[float, float]], width: int, height: int) -> list[tuple[float, float]]:
    """Clip a polygon at the image's four edges, one after the other (Sutherland-Hodgman)."""
    for axis, limit, sign in (
        (0, 0.0, 1),
        (0, float(width), -1),
        (1, 0.0, 1),
        (1, float(height), -1),
    ):
        kept: list[tuple[float, float]] = []
        for before, point in zip([points[-1], *points[:-1]], points, strict=True):
            inside, was_inside = (sign * (p[axis] - limit) >= 0 for p in (point, before))
            if inside != was_inside:
                share = (limit - before[axis]) / (point[axis] - before[axis])
                other = before[1 - axis] + share * (point[1 - axis] - before[1 - axis])
                kept.append((limit, other) if axis == 0 else (other, limit))
            if inside:
                kept.append(point)
        points = kept
        if not points:
            return []
    return points
