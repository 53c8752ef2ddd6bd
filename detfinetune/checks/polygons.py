"""Outlines that do not belong to their box, or cross themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from detfinetune.checks.box_pairs import pair_ious
from detfinetune.checks.findings import Finding
from detfinetune.checks.places import AllObjects, counted, percent
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.formats.json.rle import tight_box
from detfinetune.labels.formats.raw_labels import BadLabel

_APART_PIXELS = 2.0
"""Outlines traced along pixel centres end a pixel inside their box."""

_APART_IOU = 0.75
_CROSSING_SHARE = 0.05
_DRAWN_OUT_SHARE = 0.05
_FULL_SHARE = 1.05


@dataclass(frozen=True, eq=False)
class _Rings:
    """All outlines of all objects, one after the other."""

    objects: NDArray[np.int64]
    """Number of the object that each ring belongs to; (rings,)."""

    starts: NDArray[np.int64]
    """First point of each ring; (rings,)."""

    points: NDArray[np.float64]
    """x and y in pixels; (points, 2)."""

    ring_of: NDArray[np.int64]
    """Ring of each point; (points,)."""


def check_polygons(tables: Mapping[str, LabelTable], classes: Sequence[str]) -> list[Finding]:
    """Find outlines far from filling their box as given, and outlines that cross themselves."""
    objects = AllObjects(tables)
    rings = _rings(tables)
    found = [_apart(objects, *_hulls(tables, rings), classes)]
    if len(rings.objects):
        areas = _areas(rings)
        found += [
            _filling(objects, rings, areas, classes),
            _crossing(objects, rings, areas, classes),
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
    """Return each ring's area by the shoelace formula; where it crosses itself parts cancel."""
    following = np.arange(1, len(rings.points) + 1)
    ends = np.append(rings.starts[1:], len(rings.points)) - 1
    following[ends] = rings.starts
    (x, y), (next_x, next_y) = rings.points.T, rings.points[following].T
    areas: NDArray[np.float64] = np.abs(np.add.reduceat(x * next_y - next_x * y, rings.starts)) / 2
    return areas


def _hulls(
    tables: Mapping[str, LabelTable], rings: _Rings
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the objects with an outline or mask, (n,), and left, top, right, bottom of it."""
    drawn, first_ring = np.unique(rings.objects, return_index=True)
    hulls = np.empty((0, 4))
    if len(drawn):
        first_point = rings.starts[first_ring]
        low = np.minimum.reduceat(rings.points, first_point)
        high = np.maximum.reduceat(rings.points, first_point)
        hulls = np.concatenate([low, high], axis=1)
    masked, boxes = [], []
    first = 0
    for table in tables.values():
        for row in sorted(set(table.masks) - set(table.polygons)):
            if table.crowd[row]:
                continue
            try:
                boxes.append(tight_box(table.masks[row]))
            except BadLabel:
                continue  # an empty mask has no place, and reading says so
            masked.append(first + row)
        first += table.num_objects
    return (
        np.concatenate([drawn, np.array(masked, dtype=np.int64)]),
        np.concatenate([hulls, np.array(boxes, dtype=np.float64).reshape(-1, 4)]),
    )


def _apart(
    objects: AllObjects,
    drawn: NDArray[np.int64],
    hulls: NDArray[np.float64],
    classes: Sequence[str],
) -> Finding | None:
    """Find outlines whose hull is not the box: each is of another object, or of another size."""
    boxes = objects.boxes[drawn]
    low, high = hulls[:, :2], hulls[:, 2:]
    iou = pair_ious(np.concatenate([low, high - low], axis=1), boxes)
    off = np.maximum(np.abs(low - boxes[:, :2]), np.abs(high - boxes[:, :2] - boxes[:, 2:]))
    distance = off.max(axis=1)
    apart = (iou < _APART_IOU) & (distance > _APART_PIXELS)
    if not apart.any():
        return None
    indices = drawn[apart]
    by_index = dict(
        zip(indices.tolist(), zip(iou[apart], distance[apart], strict=True), strict=True)
    )

    def detail(index: int) -> str:
        overlap, pixels = by_index[index]
        name = classes[objects.category(index)]
        return f"{name}: outline and box have IoU {overlap:.2f}; an edge is {pixels:.0f} px off"

    return Finding(
        "polygon_not_in_box",
        "warning",
        f"{counted(len(indices), 'outline does', 'outlines do')} not fit the box given beside.",
        "Find out which of the two is right (other image size? other object?) and drop the other: "
        "boxes train the detector, outlines its masks, and the two now disagree.",
        objects.places(indices, detail),
        {"objects": len(indices), "below_iou": _APART_IOU},
    )


def _filling(
    objects: AllObjects,
    rings: _Rings,
    areas: NDArray[np.float64],
    classes: Sequence[str],
) -> Finding | None:
    """Find outlines that fill hardly any of their box, or more than all of it."""
    drawn = np.unique(rings.objects)
    total = np.bincount(rings.objects, weights=areas, minlength=len(objects))[drawn]
    share = total / np.maximum(objects.areas[drawn], 1e-9)
    roomy = objects.boxes[drawn, 2:].min(axis=1) > 2 * _APART_PIXELS
    odd = roomy & ((share < _DRAWN_OUT_SHARE) | (share > _FULL_SHARE))
    if not odd.any():
        return None
    indices = drawn[odd]
    shares = dict(zip(indices.tolist(), share[odd].tolist(), strict=True))
    return Finding(
        "polygon_fill",
        "warning",
        f"{counted(len(indices), 'outline fills', 'outlines fill')} less than "
        f"{percent(_DRAWN_OUT_SHARE)} or more than {percent(_FULL_SHARE)} of the box.",
        "Look at them: too little means a line or parts far apart drawn as one object, too much "
        "means parts that lie on each other. Redraw them, or split them into objects.",
        objects.places(
            indices,
            lambda i: f"{classes[objects.category(i)]}: fills {percent(shares[i])} of its box",
        ),
        {"objects": len(indices)},
    )


def _crossing(
    objects: AllObjects, rings: _Rings, areas: NDArray[np.float64], classes: Sequence[str]
) -> Finding | None:
    """Find outlines that cross themselves, and lose more than a twentieth of their area by it.

    Outlines that only touch themselves in a point are invalid too, but mean what they show; masks
    turned into outlines are full of them.
    """
    polygons = shapely.polygons(shapely.linearrings(rings.points, indices=rings.ring_of))
    invalid = np.flatnonzero(~shapely.is_valid(polygons))
    if not len(invalid):
        return None
    filled = shapely.area(shapely.make_valid(polygons[invalid]))
    lost = np.abs(filled - areas[invalid]) > _CROSSING_SHARE * filled
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
        "polygon_crosses_itself",
        "warning",
        f"{counted(len(indices), 'outline crosses itself', 'outlines cross themselves')}, so that "
        "inside and outside are mixed up.",
        "Put the points in order or redraw: the mask that training sees has holes and flaps that "
        "the object has not.",
        objects.places(indices, lambda i: f"{classes[objects.category(i)]}: {reasons[i].lower()}"),
        {"objects": len(indices), "touching_only": len(invalid) - len(crossing)},
    )
