"""Masks to polygons, and several polygons to one: for a format with one ring an object.

**Tracing.** OpenCV's `findContours` (border following, Suzuki and Abe 1985) gives the centres of
an object's border pixels, and a polygon through those loses half a pixel all around. Here the mask
is doubled in size first, so that the border runs through quarters of pixels, of which each is moved
to the pixel corner beside it: column u of the doubled mask becomes x = (u + 1) // 2. The polygon
then runs along the edges of the pixels, the pixel in column x reaching from x to x + 1, and
rasterises to the same mask, area and all.

**Joining.** Rings are joined by bridges: from a corner of one to the nearest corner of another and
back by the same way, a bridge without width (how holes are brought into a polygon before ear
clipping; D. Eberly, "Triangulation by Ear Clipping", Geometric Tools, 2002). Ultralytics' tools
join the polygons of COCO objects in the same way. Outer rings turn one way and holes the other, so
that the even-odd and the non-zero rule both fill what they should. pycocotools' masks show no
bridge; OpenCV's `fillPoly`, which draws the border of what it fills, shows one as a line of a
pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as mask_api
from shapely import GEOSException, union_all
from shapely.geometry import MultiPolygon
from shapely.geometry import Polygon as Area
from shapely.validation import make_valid

from detfinetune.labels.dataset.masks import decoded
from detfinetune.labels.dataset.records import Polygon, RleMask

Points = NDArray[np.float64]
"""(points, 2): x and y."""

FEWEST_VALUES = 6
"""A polygon has three points or more."""


def one_polygon(
    polygons: Sequence[Polygon], mask: RleMask | None, width: int, height: int
) -> Polygon:
    """Return a single ring for an object that has several polygons, or a mask.

    Polygons that overlap are united, because under the even-odd rule the overlap would be empty. Of
    an object with polygons and a mask, the polygons are taken.

    Returns:
        x0, y0, x1, y1, ... in pixels; empty where nothing has an area.
    """
    if not polygons:
        parts = _traced(decoded(mask)) if mask is not None else []
    else:
        try:
            parts = _united(polygons)
        except (GEOSException, ValueError):
            # Coordinates may be too large; pixels always work.
            parts = _traced(mask_api.decode(rasterised(polygons, width, height)).astype(bool))
    rings = [ring for part in parts for ring in part]
    return _flat(join_rings(rings)) if rings else ()


def join_rings(rings: Sequence[Points]) -> Points:
    """Join rings by bridges into one; (points, 2).

    From left to right, each ring's leftmost point is joined to the nearest point of those that
    are joined already. So a mask of thousands of specks takes seconds, not hours.
    """
    joined, *rest = sorted(rings, key=lambda ring: float(ring[:, 0].min()))
    for ring in rest:
        start = int(ring[:, 0].argmin())
        at = int(((joined - ring[start]) ** 2).sum(axis=1).argmin())
        detour = np.concatenate([ring[start:], ring[: start + 1], joined[at : at + 1]])
        joined = np.insert(joined, at + 1, detour, axis=0)
    return joined


def rasterised(polygons: Sequence[Polygon], width: int, height: int) -> dict[str, object]:
    """Return the pixels of polygons together, as pycocotools' compressed run lengths."""
    return dict(mask_api.merge(mask_api.frPyObjects([list(p) for p in polygons], height, width)))


def mask_iou(first: dict[str, object], second: dict[str, object]) -> float:
    """Return the IoU of two masks as run lengths; 1 where both are empty."""
    if not mask_api.area(first) and not mask_api.area(second):
        return 1.0
    return float(mask_api.iou([first], [second], [0])[0, 0])


def _united(polygons: Sequence[Polygon]) -> list[list[Points]]:
    """Return the rings of each part of the union of polygons, the outer ring first."""
    areas = [Area(np.reshape(p, (-1, 2))) for p in polygons if len(p) >= FEWEST_VALUES]
    union = union_all([area if area.is_valid else make_valid(area) for area in areas])
    # A union may hold lines, and parts in parts.
    parts = [p for p in getattr(union, "geoms", [union]) if isinstance(p, (Area, MultiPolygon))]
    flat = [p for part in parts for p in getattr(part, "geoms", [part]) if p.area > 0]
    return [
        [_oriented(_open(p.exterior.coords), True), *(_oriented(_open(r.coords), False)
        for r in p.interiors)]
        for p in flat
    ]  # fmt: skip


def _traced(mask: NDArray[np.bool_]) -> list[list[Points]]:
    """Return the rings of each connected part of a mask, the outer ring first."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    top, left = rows[0], columns[0]
    corner = np.array([left, top], dtype=np.float64)
    small = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8)
    doubled = small.repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parts: dict[int, list[Points]] = {}
    for index, (contour, links) in enumerate(zip(contours, hierarchy[0], strict=True)):
        ring = _corners_only((contour[:, 0, :].astype(np.int64) + 1) // 2)
        parent = int(links[3])
        is_outer = parent < 0
        owner = parts.setdefault(index if is_outer else parent, [])
        owner.insert(0 if is_outer else len(owner), _oriented(ring + corner, is_outer))
    return list(parts.values())


def _corners_only(points: NDArray[np.int64]) -> Points:
    """Return a ring without repeated points and points on straight lines."""
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    # Where a part is joined at a corner, the ring may turn back on itself.
    back = (before * after).sum(axis=1) < 0
    return np.asarray(points[turns | back], dtype=np.float64)


def _open(ring: Sequence[tuple[float, ...]]) -> Points:
    return np.asarray(ring, dtype=np.float64)[:-1, :2]


def _oriented(ring: Points, outer: bool) -> Points:
    """Return a ring in the direction of outer rings, or of holes."""
    xs, ys = ring[:, 0], ring[:, 1]
    clockwise = float(np.dot(xs, np.roll(ys, -1)) - np.dot(ys, np.roll(xs, -1))) > 0
    return ring if clockwise == outer else ring[::-1]


def _flat(points: Points) -> Polygon:
    return tuple(points.ravel().tolist())
