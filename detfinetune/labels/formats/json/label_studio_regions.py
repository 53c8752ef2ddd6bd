"""Label Studio's regions: the entries of `result` become labels in normalized coordinates."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from detfinetune.labels.dataset.records import Polygon
from detfinetune.labels.formats.json.json_values import (
    NOT_A_SHAPE,
    box_label,
    class_of,
    clean,
    number,
    one_line,
    pairs,
    polygon_label,
    shown,
    size_of,
)
from detfinetune.labels.formats.json.label_studio_brush import read_brush
from detfinetune.labels.formats.json.rle import BAD_MASK, encode_mask, tight_box
from detfinetune.labels.formats.raw_labels import BadLabel, RawLabel, RawProblem
from detfinetune.labels.formats.shapes import ellipse

# Types that describe an image or a region, and are not regions.
_NO_REGIONS = frozenset(
    ("choices", "datetime", "number", "pairwise", "ranker", "rating", "relation", "taxonomy")
) | {"textarea"}


def image_size(results: list[tuple[int, Any]]) -> tuple[int, int] | None:
    """Return width and height in pixels, of the first entry that has them."""
    for _, item in results:
        if isinstance(item, dict) and (size := _size_in(item)):
            return size
    return None


def read_regions(
    results: list[tuple[int, Any]], task: str, tally: Counter[str]
) -> list[RawLabel | RawProblem]:
    """Return a label or a problem for each region; `tally` counts the other entries."""
    classes = _classes_by_id(results)
    taken: set[str] = set()
    entries: list[RawLabel | RawProblem] = []
    for line, item in results:
        what = task
        try:
            if not isinstance(item, dict):
                raise BadLabel("not an object", f"{shown(item)} is in the place of a region")
            identity, kind = item.get("id"), item.get("type")
            if isinstance(kind, str) and kind in _NO_REGIONS:
                tally["no regions"] += 1
                continue
            if isinstance(identity, str):
                if identity in taken:
                    tally["parts"] += 1
                    continue
                what = f"{task} region {one_line(clean(identity))}"
            label = _read_region(item, classes, what)
            label.line = line
            entries.append(label)
            if isinstance(identity, str):
                taken.add(identity)
        except BadLabel as problem:
            entries.append(RawProblem(line, problem.kind, str(problem), what))
    return entries


def _classes_by_id(results: list[tuple[int, Any]]) -> dict[str, list[Any]]:
    """Return the labels given by an entry of their own, under the id of their region."""
    classes: dict[str, list[Any]] = {}
    for _, item in results:
        if isinstance(item, dict) and isinstance(identity := item.get("id"), str):
            named = _named_in(_value_of(item))
            if named:
                classes.setdefault(identity, named)
    return classes


def _value_of(item: dict[str, Any]) -> dict[str, Any]:
    value = item.get("value")
    return value if isinstance(value, dict) else {}


def _named_in(value: dict[str, Any]) -> list[Any]:
    lists = (value[key] for key in value if key.endswith("labels"))
    return next((names for names in lists if isinstance(names, list) and names), [])


def _size_in(item: dict[str, Any]) -> tuple[int, int] | None:
    return size_of(item.get("original_width"), item.get("original_height"))


def _read_region(item: dict[str, Any], classes: dict[str, list[Any]], what: str) -> RawLabel:
    value = _value_of(item)
    identity = item.get("id")
    names = _named_in(value) or (classes.get(identity, []) if isinstance(identity, str) else [])
    if not any(key in value for key in ("rle", "points", "radiusX", "height")):
        raise BadLabel(
            NOT_A_SHAPE,
            f"a region of the type {shown(item.get('type'))} is not a box, a polygon or a brush",
        )
    if item.get("image_rotation") not in (0, None):
        raise BadLabel(
            "rotated image",
            f"the image was rotated by {shown(item['image_rotation'])} degrees in Label Studio. "
            "Rotate the image file itself, and label it again",
        )
    if len(names) > 1:
        raise BadLabel("several classes", f"{len(names)} labels on one region")
    class_token = class_of(names[0] if names else None, "the label")
    if "rle" in value:
        return _brush(value, _size_for(item, "a brush"), class_token, what)
    if "points" in value:
        points = pairs(value["points"], "points")
        return polygon_label(class_token, (tuple(v / 100 for v in points),), what)
    angle = value.get("rotation")
    radians = math.radians(number(angle, "rotation") % 360) if angle is not None else 0.0
    x, y = number(value.get("x"), "x"), number(value.get("y"), "y")
    if "radiusX" in value:
        rx, ry = number(value["radiusX"], "radiusX"), number(value.get("radiusY"), "radiusY")
        if not radians:
            polygon = ellipse(x / 100, y / 100, rx / 100, ry / 100)
        else:
            w, h = _size_for(item, "a rotated ellipse")
            pixels = ellipse(x / 100 * w, y / 100 * h, rx / 100 * w, ry / 100 * h, radians)
            polygon = _in_normalized(pixels, w, h)
        return polygon_label(class_token, (polygon,), what)
    width, height = number(value.get("width"), "width"), number(value.get("height"), "height")
    box = (x / 100, y / 100, width / 100, height / 100)
    if not radians:
        return box_label(class_token, box, what)
    return polygon_label(
        class_token, (_rotated(box, _size_for(item, "a rotated box"), radians),), what
    )


def _size_for(item: dict[str, Any], what: str) -> tuple[int, int]:
    size = _size_in(item)
    if size is None:
        raise BadLabel("missing value", f"{what} needs original_width and original_height")
    return size


def _rotated(
    box: tuple[float, float, float, float], size: tuple[int, int], radians: float
) -> Polygon:
    """Rotate a normalized box about its first corner, which is what Label Studio stores.

    It is rotated in pixels, because normalized x and y differ in scale.
    """
    w, h = size
    x, y, across, down = box[0] * w, box[1] * h, box[2] * w, box[3] * h
    cos, sin = math.cos(radians), math.sin(radians)
    xyxy = ((0.0, 0.0), (across, 0.0), (across, down), (0.0, down))
    pixels = tuple(v for a, d in xyxy for v in (x + a * cos - d * sin, y + a * sin + d * cos))
    return _in_normalized(pixels, w, h)


def _in_normalized(pixels: Polygon, width: int, height: int) -> Polygon:
    return tuple(value / (height if index % 2 else width) for index, value in enumerate(pixels))


def _brush(value: dict[str, Any], size: tuple[int, int], class_token: str, what: str) -> RawLabel:
    if value.get("format", "rle") != "rle":
        raise BadLabel(BAD_MASK, f"a brush in the format {shown(value['format'])}, not rle")
    width, height = size
    mask = encode_mask(read_brush(value["rle"], width, height))
    x1, y1, x2, y2 = tight_box(mask)
    xyxy = (x1 / width, y1 / height, x2 / width, y2 / height)
    return RawLabel(class_token, xyxy, has_box=False, mask=mask, text=f"{what}: brush")
