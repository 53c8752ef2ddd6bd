"""VIA's CSV export (VGG Image Annotator 1 and 2): a region a row, its shape as JSON in a cell."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from detfinetune.labels.formats.delimited import DelimitedText, problem_of
from detfinetune.labels.formats.json_values import (
    NOT_A_SHAPE,
    box_label,
    class_of,
    number,
    outline_label,
    shown,
)
from detfinetune.labels.formats.objects import BadLabel, Document, RawLabel
from detfinetune.labels.formats.outlines import ellipse
from detfinetune.labels.formats.table_columns import squeeze
from detfinetune.labels.formats.table_rows import ImageIndex
from detfinetune.labels.records import Polygon

_SHAPE, _ATTRIBUTES = "regionshapeattributes", "regionattributes"
_IMAGES = ("filename", "imagefilename")
_CLASS_KEYS = ("class", "classname", "label", "name", "category", "type", "object")
_FEWEST_POINTS = 3


def is_via_heading(heading: Sequence[str]) -> bool:
    """Whether a heading is that of VIA's export."""
    names = set(map(squeeze, heading))
    return _SHAPE in names and not names.isdisjoint(_IMAGES)


def parse_via_rows(source: DelimitedText) -> Document:
    """Read the rows below VIA's heading; a row with an empty shape is an image without objects.

    The class is the region's attribute `class`, `label`, `name` or the like, else its first one.
    """
    line = source.lines[source.first]
    heading = list(map(squeeze, next(csv.reader([line], delimiter=source.delimiter))))
    at_image = next(i for i, name in enumerate(heading) if name in _IMAGES)
    at_shape = heading.index(_SHAPE)
    at_attributes = heading.index(_ATTRIBUTES) if _ATTRIBUTES in heading else None
    document = Document(problems=source.problems)
    images = ImageIndex(document)
    keys: Counter[str] = Counter()
    for begin, cells, text in source.rows(source.first + 1, len(heading)):
        image = None
        try:
            if len(cells) != len(heading):
                few_or_many = "too few columns" if len(cells) < len(heading) else "too many columns"
                raise BadLabel(
                    few_or_many, f"{len(cells)} values where the heading has {len(heading)}"
                )
            image = images.find(cells[at_image], begin)
            shape = _json(cells[at_shape], "region_shape_attributes")
            if not shape:
                continue
            attributes = cells[at_attributes] if at_attributes is not None else ""
            key, token = _class(_json(attributes, "region_attributes"))
            label = _label(shape, token)
        except BadLabel as bad:
            problems = document.problems if image is None else image.problems
            problems.append(problem_of(bad, begin, text))
            continue
        keys[key] += 1
        label.line, label.text = begin, text
        image.labels.append(label)
    if used := [key for key in keys if key]:
        document.notes.append(f"the class is taken from the attribute {' or '.join(used)}")
    if keys[""]:
        document.notes.append(f"{keys['']} regions have no attribute for the class")
    return document


def _json(cell: str, name: str) -> dict[str, Any]:
    if not cell.strip():
        return {}
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise BadLabel("not JSON", f"{name} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadLabel("not JSON", f"{name} is {shown(value)}, not an object")
    return value


def _class(attributes: dict[str, Any]) -> tuple[str, str]:
    """Return the attribute that holds the class, and the class; both empty where there is none."""
    by_name = {squeeze(key): key for key in reversed(attributes)}
    key = next((by_name[name] for name in _CLASS_KEYS if name in by_name), None)
    key = next(iter(attributes), "") if key is None else key
    value = attributes.get(key, "")
    if isinstance(value, dict):
        # A checkbox: {"cat": true, "dog": false}.
        chosen = [name for name, is_so in value.items() if is_so in (True, "true")]
        if len(chosen) != 1:
            raise BadLabel("no class", f"attribute {key} has {len(chosen)} classes instead of one")
        value = chosen[0]
    if not attributes:
        return "", ""
    return key, class_of(value, f"attribute {key}")


def _label(shape: dict[str, Any], token: str) -> RawLabel:
    kind = shape.get("name")
    if kind == "rect":
        x, y, width, height = (number(shape.get(k), k) for k in ("x", "y", "width", "height"))
        return box_label(token, (x, y, width, height), "rect")
    if kind in ("circle", "ellipse"):
        names = ("cx", "cy", "r", "r") if kind == "circle" else ("cx", "cy", "rx", "ry")
        cx, cy, rx, ry = (number(shape.get(k), k) for k in names)
        angle = number(shape.get("theta", 0), "theta")
        return outline_label(token, (ellipse(cx, cy, rx, ry, angle),), kind)
    if kind in ("polygon", "polyline"):
        return outline_label(token, (_points(shape),), kind)
    raise BadLabel(NOT_A_SHAPE, f"the region is {shown(kind)}, which is no box or outline")


def _points(shape: dict[str, Any]) -> Polygon:
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        raise BadLabel("missing value", "all_points_x and all_points_y are not lists of one length")
    if len(xs) < _FEWEST_POINTS:
        raise BadLabel(NOT_A_SHAPE, f"an outline of {len(xs)} points")
    return tuple(
        number(value, f"point {index}")
        for index, point in enumerate(zip(xs, ys, strict=True), start=1)
        for value in point
    )
