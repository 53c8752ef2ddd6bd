"""One entry of COCO's `annotations`: any JSON value becomes a label, or a reason why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from detfinetune.labels.dataset.records import Polygon, RleMask
from detfinetune.labels.formats.json.json_values import (
    NOT_A_SHAPE,
    box_label,
    number,
    one_line,
    polygon_label,
    shown,
)
from detfinetune.labels.formats.json.rle import read_rle, tight_box
from detfinetune.labels.formats.raw_labels import BadLabel, RawLabel

OTHER_KINDS = {
    "caption": "captions of images, not objects; use the instances_*.json beside it",
    "segments_info": "panoptic labels, with masks in PNG files; use the instances_*.json",
}
"""Keys of annotations of COCO's other tasks, and what their files are."""

FLAT_POLYGON = "flat polygon"
BAD_AREA = "area that is not a number"
LARGEST_ID = 2**62
"""Larger ids are replaced: they do not fit into 64 bits with room for arithmetic."""
_BOX = ("the left of the box", "its top", "its width", "its height")


def name_annotation(item: Any) -> str:
    """Return `annotation 17`, by the annotation's own id where it has one."""
    identity = item.get("id") if isinstance(item, dict) else None
    if type(identity) is int:
        return f"annotation {identity}" if abs(identity) < 10**20 else "annotation"
    return "annotation" if identity is None else f"annotation {one_line(shown(identity))}"


def annotation_id(item: Any) -> int | None:
    """Return the annotation's own id where it is a whole number that fits into 64 bits."""
    identity = item.get("id") if isinstance(item, dict) else None
    return identity if type(identity) is int and abs(identity) < LARGEST_ID else None


def read_annotation(item: Any, what: str, seen: Counter[str]) -> RawLabel:
    """Return the label of an annotation, with the class still to be filled in.

    Args:
        item: the annotation as decoded.
        what: its name for the ledger.
        seen: counts for notes: flat polygons, invalid areas, keys of other tasks.

    Raises:
        BadLabel: it has no box, polygon or mask, or something in it is wrong.
    """
    if not isinstance(item, dict):
        raise BadLabel("not an object", f"{shown(item)} is not an annotation")
    box, segmentation, crowd = item.get("bbox"), item.get("segmentation"), item.get("iscrowd")
    if crowd not in (0, 1, None):
        raise BadLabel("not a number", f"iscrowd is {shown(crowd)}, not 0 or 1")
    polygons, mask = _read_segmentation(segmentation, seen)
    if box is not None and box != []:
        if not isinstance(box, list) or len(box) != 4:
            raise BadLabel(
                "wrong number of values", f"bbox is {shown(box)}, not [left, top, width, height]"
            )
        x, y, w, h = map(number, box, _BOX)
        label = box_label("", (x, y, w, h), what)
        label.polygons = polygons
        label.exact_xywh = (x, y, w, h)
    elif polygons:
        label = polygon_label("", polygons, what)
    elif mask is not None:
        label = RawLabel("", tight_box(mask), has_box=False, text=f"{what}: mask")
    else:
        raise _no_shape(item, seen)
    label.mask = mask
    label.crowd = crowd == 1
    label.area = _area(item.get("area"), seen)
    label.identity = annotation_id(item)
    return label


def _read_segmentation(
    value: Any, seen: Counter[str]
) -> tuple[tuple[Polygon, ...], RleMask | None]:
    if isinstance(value, dict):
        return (), read_rle(value)
    if isinstance(value, list):
        return tuple(_polygons(value, seen)) if value else (), None
    if value is not None:
        raise BadLabel("not a number", f"segmentation is {shown(value)}, not a list or an object")
    return (), None


def _area(value: Any, seen: Counter[str]) -> float | None:
    if value is None:
        return None
    try:
        area = number(value, "area")
    except BadLabel:
        seen[BAD_AREA] += 1
        return None
    if area < 0:
        seen[BAD_AREA] += 1
        return None
    return area


def _no_shape(item: dict[str, Any], seen: Counter[str]) -> BadLabel:
    seen.update(key for key in OTHER_KINDS if key in item)
    has = ", ".join(key for key in ("keypoints", *OTHER_KINDS) if key in item)
    only = f", only {has}" if has else ""
    return BadLabel(NOT_A_SHAPE, f"neither bbox nor segmentation is given{only}")


def _polygons(segmentation: list[Any], seen: Counter[str]) -> Iterator[Polygon]:
    """Yield the polygons of a `segmentation` that is a non-empty list of anything."""
    if type(segmentation[0]) in (int, float):
        seen[FLAT_POLYGON] += 1
        segmentation = [segmentation]
    for index, values in enumerate(segmentation, start=1):
        if not isinstance(values, list):
            raise BadLabel("not a number", f"polygon {index} is {shown(values)}, not a list")
        if len(values) % 2:
            raise BadLabel(
                "wrong number of values",
                f"polygon {index} has {len(values)} numbers, which are not x, y pairs",
            )
        if values:
            yield tuple(number(value, f"a value of polygon {index}") for value in values)
