"""LabelMe: a JSON file an image, with `shapes` in pixels and often the image itself."""

from __future__ import annotations

import base64
import binascii
import io
import math
import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detfinetune.labels.dataset.records import Polygon
from detfinetune.labels.formats.json.json_text import JsonReader, paths_in
from detfinetune.labels.formats.json.json_values import (
    NOT_A_SHAPE,
    box_label,
    class_of,
    clean,
    last_component,
    one_line,
    pairs,
    polygon_label,
    shown,
    size_of,
)
from detfinetune.labels.formats.json.rle import BAD_MASK, LARGEST_MASK, encode_mask, tight_box
from detfinetune.labels.formats.raw_labels import (
    BadFile,
    BadLabel,
    Document,
    RawImage,
    RawLabel,
    RawProblem,
    bounding_box,
)
from detfinetune.labels.formats.shapes import ellipse

_KEYS = ("shapes", "imagePath", "imageData", "imageHeight", "imageWidth")
# What Pillow raises for a damaged PNG.
_PNG_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def detect_labelme(head: str) -> str:
    """Return by what the beginning of a file (4,000 characters will do) shows LabelMe, or nothing.

    The image may come before the shapes, so that any two of LabelMe's own keys are enough.
    """
    found = paths_in(head)
    keys = [key for key in _KEYS if (key,) in found]
    shape = {("shapes", "[]", "points"), ("shapes", "[]", "label")} <= found
    if shape or len(keys) > 1 or keys == ["imageData"]:
        return f"JSON with {' and '.join(keys[:2])}"
    return ""


def parse_labelme(text: str) -> Document:
    """Read a LabelMe file; the document has one image.

    Its name is the last component of `imagePath`, or empty. Polygons of one label and one
    `group_id` are one object in several parts, as in LabelMe; a note says so.

    Raises:
        BadFile: not valid JSON, or another kind of JSON.
    """
    reader = JsonReader(text)
    if reader.kind != "an object":
        raise BadFile(f"the JSON is {reader.kind}; a LabelMe file is an object", reader.line)
    content: dict[str, Any] = {}
    shapes: list[tuple[int, Any]] | None = None
    for key in reader.members():
        if key == "shapes":
            if reader.kind != "a list":
                raise BadFile(f"'shapes' is {reader.kind}; LabelMe has a list there", reader.line)
            shapes = (shapes or []) + [(line, reader.value()) for line in reader.items()]
        elif key == "imageData":
            content[key] = None
        else:
            content[key] = reader.value()
    reader.end()
    if shapes is None:
        listed = one_line(", ".join(map(clean, content))) or "no keys"
        raise BadFile(f"this JSON has {listed}, but not 'shapes'; a LabelMe file has it", 1)
    path = content.get("imagePath")
    image = RawImage(
        name=clean(last_component(path)) if isinstance(path, str) else "",
        size=size_of(content.get("imageWidth"), content.get("imageHeight")),
        line=1,
    )
    document = Document(images=[image])
    flags = content.get("flags")
    if isinstance(flags, dict) and any(flags.values()):
        document.tally["flags of whole images ignored"] += 1
    _add_shapes(shapes, image, document.tally)
    return document


@dataclass(frozen=True)
class _Shape:
    """One shape, its class and its name in the ledger."""

    values: dict[str, Any]
    class_token: str
    what: str


def _add_shapes(shapes: list[tuple[int, Any]], image: RawImage, tally: Counter[str]) -> None:
    groups: dict[tuple[str, int | str], RawLabel] = {}
    joined: set[tuple[str, int | str]] = set()
    for index, (line, values) in enumerate(shapes, start=1):
        what = f"shape {index}"
        try:
            if not isinstance(values, dict):
                raise BadLabel("not an object", f"{shown(values)} is in the place of a shape")
            class_token = class_of(values.get("label"), "the label")
            what = f"shape {index} {one_line(class_token)}"
            label = _label(_Shape(values, class_token, what), image)
            label.line = line
        except BadLabel as problem:
            image.problems.append(RawProblem(line, problem.kind, str(problem), what))
            continue
        group = values.get("group_id")
        if label.polygons and (type(group) is int or type(group) is str):
            first = groups.setdefault((class_token, group), label)
            if first is not label:
                first.polygons += label.polygons
                joined.add((class_token, group))
                continue
        image.labels.append(label)
    for key in joined:
        groups[key].xyxy = bounding_box(groups[key].polygons)
    if joined:
        parts = sum(len(groups[key].polygons) for key in joined)
        tally["polygons joined into one object by label and group_id"] += parts


def _label(shape: _Shape, image: RawImage) -> RawLabel:
    """Return the label of a shape.

    Raises:
        BadLabel: its type has no extent, or its values are not of its type.
    """
    kind = shape.values.get("shape_type", "polygon")
    if kind is None:
        kind = "polygon"  # As LabelMe itself does; its first versions wrote no type.
    if kind not in ("rectangle", "polygon", "rotation", "oriented_rectangle", "circle", "mask"):
        raise BadLabel(
            NOT_A_SHAPE, f"a shape of the type {shown(kind)} has no extent that can be trained on"
        )
    points = pairs(shape.values.get("points"), "points")
    if kind == "rectangle":
        return _rectangle(points, shape)
    if kind == "circle":
        if len(points) != 4:
            raise _wrong_points(points, "a circle has 2: its centre and one on its rim")
        cx, cy, x, y = points
        radius = math.hypot(x - cx, y - cy)
        return polygon_label(shape.class_token, (ellipse(cx, cy, radius, radius),), shape.what)
    if kind == "mask":
        return _mask(points, shape, image)
    return polygon_label(shape.class_token, (points,), shape.what)


def _rectangle(points: Polygon, shape: _Shape) -> RawLabel:
    """Any two opposite corners make a box; four corners of another shape stay a polygon."""
    if len(points) not in (4, 8):
        raise _wrong_points(points, "a rectangle has 2 opposite corners, or all 4")
    x1, y1, x2, y2 = bounding_box((points,))
    if len(points) == 8 and not (
        set(points[0::2]) == {x1, x2}
        and set(points[1::2]) == {y1, y2}
        and len(set(zip(points[0::2], points[1::2], strict=True))) == 4
    ):
        return polygon_label(shape.class_token, (points,), shape.what)
    label = box_label(shape.class_token, (x1, y1, x2 - x1, y2 - y1), shape.what)
    label.form, label.xyxy = "xyxy", (x1, y1, x2, y2)
    return label


def _wrong_points(points: Polygon, rule: str) -> BadLabel:
    return BadLabel("wrong number of values", f"{len(points) // 2} points; {rule}")


def _mask(points: Polygon, shape: _Shape, image: RawImage) -> RawLabel:
    """Put the PNG of a mask into a mask of the whole image; its corners are pixels, both inside."""
    if image.size is None:
        raise BadLabel(BAD_MASK, "a mask needs imageWidth and imageHeight in the file")
    width, height = image.size
    if width * height > LARGEST_MASK:
        raise BadLabel(BAD_MASK, f"an image of {width}x{height} is too large for a mask")
    if len(points) != 4:
        raise _wrong_points(points, "a mask has 2: its first and its last corner")
    if max(map(abs, points)) > 2**31:
        raise BadLabel(BAD_MASK, "the corners of the mask are far outside of any image")
    left, top, right, bottom = (round(value) for value in points)
    part = _png_pixels(shape.values.get("mask"), right - left + 1, bottom - top + 1)
    pixels = np.zeros((height, width), dtype=bool)
    inside = part[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    y, x = max(top, 0), max(left, 0)
    pixels[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    mask = encode_mask(pixels)
    xyxy = tight_box(mask)
    return RawLabel(shape.class_token, xyxy, has_box=False, mask=mask, text=f"{shape.what}: mask")


def _png_pixels(code: Any, width: int, height: int) -> NDArray[np.bool_]:
    """Decode a PNG in base64, if it has the expected size."""
    if not isinstance(code, str):
        raise BadLabel(BAD_MASK, f"mask is {shown(code)}, not a PNG in base64")
    try:
        data = base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError):
        raise BadLabel(BAD_MASK, "mask is not base64") from None
    try:
        # Opening reads the size alone. Loading takes a truncated PNG too, verifying does not.
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            size = picture.size
            if size != (width, height) or width * height > LARGEST_MASK // 4:
                raise BadLabel(
                    BAD_MASK,
                    f"a mask of {size[0]}x{size[1]} pixels between corners {width}x{height} apart",
                )
            picture.verify()
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            return np.asarray(picture.convert("L")) > 0
    except (*_PNG_ERRORS, Image.DecompressionBombError):
        raise BadLabel(BAD_MASK, "the PNG of the mask is damaged") from None
