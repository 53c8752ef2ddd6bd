"""Checks polygons: mismatch with the box, unusual area, self-intersection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding
from detfinetune.checks.objects.box_pairs import pair_ious
from detfinetune.checks.places import AllObjects, counted, percent
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.formats.json.rle import tight_box
from detfinetune.labels.formats.raw_labels import BadLabel

_MISMATCH_PIXELS = 2.0
"""Polygons traced along pixel centres end a pixel inside their box."""

_MISMATCH_IOU = 0.75
_LOST_SHARE = 0.05
_LOW_FILL = 0.05
_HIGH_FILL = 1.05


@dataclass(frozen=True, eq=False)
class _Rings:
    """The polygons of all objects, concatenated."""

    objects: NDArray[np.int64]
    """Index of each ring's object; (rings,)."""

    starts: NDArray[np.int64]
    """Index of each ring's first point; (rings,)."""

    points: NDArray[np.float64]
    """x and y in pixels; (points, 2)."""

    ring_of: NDArray[np.int64]
    """Ring of each point; (points,)."""


def check_polygons(tables: Mapping[str, LabelTable], classes: Sequence[str]) -> list[Finding]:
    """Find polygons that do not match their box, and self-intersecting ones."""
    objects = AllObjects(tables)
    rings = _rings(tables)
    found = [_mismatched(objects, *_bounding_boxes(tables, rings), classes)]
    if len(rings.objects):
        areas = _areas(rings)
        found += [
            _unusual_fill(objects, rings, areas, classes),
            _self_intersecting(objects, rings, areas, classes),
        ]
    return [finding for finding in found if finding is not None]


def _rings(tables: Mapping[str, LabelTable]) -> _Rings:
    owners: list[int] = []
    rings: list[NDArray[np.float64]] = []
    first = 0
    for table in tables.values():
        for row in sorted(table.polygons):
            if table.crowd[row]:
                continue
            for polygon in table.polygons[row]:
                if len(polygon) >= 6:
                    owners.append(first + row)
                    rings.append(np.asarray(polygon, dtype=np.float64).reshape(-1, 2))
        first += table.num_objects
    lengths = np.array([len(ring) for ring in rings], dtype=np.int64)
    return _Rings(
        np.array(owners, dtype=np.int64),
        np.cumsum(lengths) - lengths,
        np.concatenate([np.empty((0, 2)), *rings]),
        np.repeat(np.arange(len(rings)), lengths),
    )


def _areas(rings: _Rings) -> NDArray[np.float64]:
    """Return each ring's area by the shoelace formula; loops of a self-intersection cancel."""
    following = np.arange(1, len(rings.points) + 1)
    ends = np.append(rings.starts[1:], len(rings.points)) - 1
    following[ends] = rings.starts
    (x, y), (next_x, next_y) = rings.points.T, rings.points[following].T
    areas: NDArray[np.float64] = np.abs(np.add.reduceat(x * next_y - next_x * y, rings.starts)) / 2
    return areas


def _bounding_boxes(
    tables: Mapping[str, LabelTable], rings: _Rings
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the objects with a polygon or mask, (n,), and its bounding box as xyxy, (n, 4)."""
    drawn, first_ring = np.unique(rings.objects, return_index=True)
    bounds = np.empty((0, 4))
    if len(drawn):
        first_point = rings.starts[first_ring]
        low = np.minimum.reduceat(rings.points, first_point)
        high = np.maximum.reduceat(rings.points, first_point)
        bounds = np.concatenate([low, high], axis=1)
    masked, boxes = [], []
    first = 0
    for table in tables.values():
        for row in sorted(set(table.masks) - set(table.polygons)):
            if table.crowd[row]:
                continue
            try:
                boxes.append(tight_box(table.masks[row]))
            except BadLabel:
                continue  # an empty mask; reading reports it
            masked.append(first + row)
        first += table.num_objects
    return (
        np.concatenate([drawn, np.array(masked, dtype=np.int64)]),
        np.concatenate([bounds, np.array(boxes, dtype=np.float64).reshape(-1, 4)]),
    )


def _mismatched(
    objects: AllObjects,
    drawn: NDArray[np.int64],
    bounds: NDArray[np.float64],
    classes: Sequence[str],
) -> Finding | None:
    """Find polygons whose bounding box differs from the object's box."""
    boxes = objects.boxes[drawn]
    low, high = bounds[:, :2], bounds[:, 2:]
    iou = pair_ious(np.concatenate([low, high - low], axis=1), boxes)
    off = np.maximum(np.abs(low - boxes[:, :2]), np.abs(high - boxes[:, :2] - boxes[:, 2:]))
    distance = off.max(axis=1)
    mismatched = (iou < _MISMATCH_IOU) & (distance > _MISMATCH_PIXELS)
    if not mismatched.any():
        return None
    indices = drawn[mismatched]
    by_index = dict(
        zip(indices.tolist(), zip(iou[mismatched], distance[mismatched], strict=True), strict=True)
    )

    def detail(index: int) -> str:
        overlap, pixels = by_index[index]
        name = classes[objects.category(index)]
        return f"{name}: polygon and box have IoU {overlap:.2f}; an edge is {pixels:.0f} px off"

    return Finding(
        "polygon_box_mismatch",
        "warning",
        f"{counted(len(indices), 'polygon does', 'polygons do')} not match the object's box.",
        "Find out which of the two is right, and remove the other. One may be of another object or "
        "image size. Boxes train the detector and polygons its masks, so they should agree.",
        objects.places(indices, detail),
        {"objects": len(indices), "below_iou": _MISMATCH_IOU},
    )


def _unusual_fill(
    objects: AllObjects,
    rings: _Rings,
    areas: NDArray[np.float64],
    classes: Sequence[str],
) -> Finding | None:
    """Find polygons that fill almost nothing of their box, or more than all of it."""
    drawn = np.unique(rings.objects)
    total = np.bincount(rings.objects, weights=areas, minlength=len(objects))[drawn]
    share = total / np.maximum(objects.areas[drawn], 1e-9)
    roomy = objects.boxes[drawn, 2:].min(axis=1) > 2 * _MISMATCH_PIXELS
    odd = roomy & ((share < _LOW_FILL) | (share > _HIGH_FILL))
    if not odd.any():
        return None
    indices = drawn[odd]
    shares = dict(zip(indices.tolist(), share[odd].tolist(), strict=True))
    return Finding(
        "polygon_fill",
        "warning",
        f"{counted(len(indices), 'polygon fills', 'polygons fill')} less than "
        f"{percent(_LOW_FILL)} or more than {percent(_HIGH_FILL)} of the box.",
        "Check them: too little means a line, or distant parts drawn as one object; too much means "
        "overlapping parts. Redraw them, or split them into objects.",
        objects.places(
            indices,
            lambda i: f"{classes[objects.category(i)]}: fills {percent(shares[i])} of its box",
        ),
        {"objects": len(indices)},
    )


def _self_intersecting(
    objects: AllObjects, rings: _Rings, areas: NDArray[np.float64], classes: Sequence[str]
) -> Finding | None:
    """Find polygons that intersect themselves, and lose more than a twentieth of their area by it.

    Polygons that only touch themselves at a point are invalid too, but harmless, and common in
    polygons made from masks.
    """
    polygons = shapely.polygons(shapely.linearrings(rings.points, indices=rings.ring_of))
    invalid = np.flatnonzero(~shapely.is_valid(polygons))
    if not len(invalid):
        return None
    filled = shapely.area(shapely.make_valid(polygons[invalid]))
    lost = np.abs(filled - areas[invalid]) > _LOST_SHARE * filled
    crossing = invalid[lost]
    if not len(crossing):
        return None
    indices, first = np.unique(rings.objects[crossing], return_index=True)
    reasons = dict(
        zip(
            indices.tolist(),
            shapely.is_valid_reason(polygons[crossing[first]]).tolist(),
            strict=True,
        )
    )
    return Finding(
        "self_intersecting_polygon",
        "warning",
        f"{counted(len(indices), 'polygon intersects itself', 'polygons intersect themselves')}.",
        "Reorder the points, or redraw: the mask used in training has wrong holes.",
        objects.places(indices, lambda i: f"{classes[objects.category(i)]}: {reasons[i].lower()}"),
        {"objects": len(indices), "touching_only": len(invalid) - len(crossing)},
    )
