"""One cell that holds a whole geometry: a box, points, or polygons, in any usual notation.

Read are lists such as `[(x, y), (x, y), ...]`, `[[x, y], ...]` and `[x, y, w, h]`, bare numbers
(`x,y,w,h`), WKT (`POLYGON ((...))`) and GeoJSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from detfinetune.labels.dataset.records import Polygon
from detfinetune.labels.formats.json.json_values import NOT_A_SHAPE, number, pairs, shown
from detfinetune.labels.formats.lines.tokens import to_number, tokenize
from detfinetune.labels.formats.raw_labels import BadLabel, Form, bounding_box

Numbers = tuple[float, float, float, float]

_BRACKETS = str.maketrans("()", "[]")


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a cell holds."""

    numbers: Numbers
    """The box; that of polygons is their bounding box."""

    polygons: tuple[Polygon, ...] = ()
    form: Form | None = "xyxy"
    """None: xyxy or xywh, which only all rows together can tell."""

    holes: int = 0
    """Holes of the polygons, which are ignored."""


def looks_like_geometry(cell: str) -> bool:
    """Whether a cell can only be a geometry; numbers between spaces may be run lengths."""
    if not any(mark in cell for mark in "[(,{"):
        return False
    try:
        parse_geometry(cell)
    except BadLabel:
        return False
    return True


def parse_geometry(cell: str) -> Geometry | None:
    """Read a cell; None where it says that there is no object (`[]`, `POLYGON EMPTY`).

    Raises:
        BadLabel: it is not a geometry, or one that is neither a box nor a polygon.
    """
    text = cell.strip()
    if text[:1].isalpha() or text.startswith("{"):
        return _of_shape(text)
    brackets = text.translate(_BRACKETS)
    for candidate in (brackets, f"[{brackets}]"):
        try:
            return _of_list(json.loads(candidate))
        except (ValueError, RecursionError):
            continue
    # As numpy prints it: [834. 222.  56.  36.]
    tokens = tokenize(text)
    if len(tokens) != 4:
        raise BadLabel("wrong number of values", f"{shown(text)} is not a box or polygon")
    a, b, c, d = (to_number(token, "a number of the box") for token in tokens)
    return Geometry((a, b, c, d), form=None)


def _of_list(value: Any) -> Geometry | None:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value == []:
        return None
    if not isinstance(value, list):
        raise BadLabel("wrong number of values", f"{shown(value)} is not a box or polygon")
    if len(value) == 4 and not any(isinstance(item, list) for item in value):
        a, b, c, d = (number(item, "a number of the box") for item in value)
        return Geometry((a, b, c, d), form=None)
    if all(isinstance(item, list) and len(item) != 2 for item in value):
        return _of_polygons(tuple(map(_points, value)))
    points = _points(value)
    return Geometry(bounding_box((points,))) if len(points) == 4 else _of_polygons((points,))


def _points(value: list[Any]) -> Polygon:
    """Return x0, y0, x1, y1, ... of a list of numbers or of pairs."""
    if any(isinstance(item, list) for item in value):
        return pairs(value, "the polygon")
    if len(value) % 2:
        raise BadLabel("wrong number of values", f"{len(value)} numbers are not x,y pairs")
    return tuple(number(item, "a number of the polygon") for item in value)


def _of_polygons(polygons: tuple[Polygon, ...], holes: int = 0) -> Geometry:
    for polygon in polygons:
        if len(polygon) < 6:
            raise BadLabel("too few points", f"a polygon has {len(polygon) // 2} points, not 3")
    return Geometry(bounding_box(polygons), polygons, holes=holes)


def _of_shape(text: str) -> Geometry | None:
    """Read WKT or GeoJSON."""
    # Imported here, because few tables need it.
    import shapely

    try:
        # NaN among the numbers would warn.
        with np.errstate(invalid="ignore"):
            read = shapely.from_geojson if text.startswith("{") else shapely.from_wkt
            shape = read(text)
    # ValueError: its own error text may be cut inside a character.
    except (shapely.errors.ShapelyError, ValueError):
        raise BadLabel("not a geometry", f"{shown(text)} is not WKT, GeoJSON or a list") from None
    if shape.is_empty:
        return None
    parts = list(getattr(shape, "geoms", [shape]))
    if any(part.geom_type != "Polygon" for part in parts):
        raise BadLabel(NOT_A_SHAPE, f"a {shape.geom_type} is not a polygon")
    coordinates = [shapely.get_coordinates(part.exterior) for part in parts]
    if not all(np.isfinite(c).all() for c in coordinates):
        raise BadLabel("not finite", "a number of the polygon is not finite")
    holes = sum(len(part.interiors) for part in parts)
    return _of_polygons(tuple(tuple(c.ravel().tolist()) for c in coordinates), holes)
