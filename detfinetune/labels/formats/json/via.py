"""VGG Image Annotator: its projects (version 2) and its annotations as JSON (versions 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from detfinetune.labels.formats.json.json_text import JsonReader, paths_in
from detfinetune.labels.formats.json.json_values import (
    NOT_A_SHAPE,
    box_label,
    clean,
    last_component,
    number,
    one_line,
    polygon_label,
    shown,
)
from detfinetune.labels.formats.json.via_classes import (
    choose_class_attribute,
    class_in,
    declared_classes,
)
from detfinetune.labels.formats.raw_labels import (
    BadFile,
    BadLabel,
    Document,
    RawImage,
    RawLabel,
    RawProblem,
)
from detfinetune.labels.formats.shapes import ellipse

_VERSION_3 = {"project", "config", "attribute", "file", "metadata", "view"}


def detect_via(head: str) -> str:
    """Return by what the beginning of a file (4,000 characters will do) shows VIA, or nothing."""
    found = paths_in(head)
    top = {path[0] for path in found}
    own = sorted(key for key in top if key.startswith("_via_"))
    if own:
        return f"JSON with {own[0]}"
    if any("regions" in path[1:] and "shape_attributes" in path for path in found):
        return "JSON with regions and shape_attributes"
    entries = {path[0] for path in found if len(path) == 2 and path[1] == "filename"}
    if any((entry, "regions") in found for entry in entries):
        return "JSON with filename and regions"
    if {"project", "config"} <= top and ("project", "data_format_version") in found:
        return "JSON with project and data_format_version (version 3)"
    return ""


def parse_via(text: str) -> Document:
    """Read a VIA project or export.

    A region's class is in the attribute that `via_classes.choose_class_attribute` takes; a note
    says which where there are several. Where no region of the file has any attribute, the class
    is left empty.

    Raises:
        BadFile: not valid JSON, another kind of JSON, or a project of version 3.
    """
    reader = JsonReader(text)
    if reader.kind != "an object":
        raise BadFile(f"the JSON is {reader.kind}; a VIA file is an object", reader.line)
    keys: list[str] = []
    entries: list[_Entry | int] = []
    attributes: Any = None
    for key in reader.members():
        keys.append(key)
        if key == "_via_img_metadata" and reader.kind == "an object":
            entries += [_read_entry(reader) for _ in reader.members()]
        elif key == "_via_attributes":
            attributes = reader.value()
        elif not key.startswith("_via_"):
            entries.append(_read_entry(reader))
    reader.end()
    images = [entry for entry in entries if isinstance(entry, _Entry)]
    if not images and "_via_img_metadata" not in keys:
        raise _not_via(keys)
    document = Document()
    if others := [line for line in entries if isinstance(line, int)]:
        document.notes.append(
            f"entries without filename and regions, ignored: {len(others)}, first on line "
            f"{others[0]}"
        )
    regions = [region for entry in images for _, region in entry.regions]
    attribute = choose_class_attribute(regions, document.notes)
    document.classes = declared_classes(attributes, attribute)
    for entry in images:
        found = [
            _region(line, region, attribute, f"region {index}")
            for index, (line, region) in enumerate(entry.regions, start=1)
        ]
        if not entry.name:
            document.problems += map(_without_image, found)
            continue
        image = RawImage(entry.name, line=entry.line)
        image.labels = [item for item in found if isinstance(item, RawLabel)]
        image.problems = [item for item in found if isinstance(item, RawProblem)]
        document.images.append(image)
    return document


def _not_via(keys: list[str]) -> BadFile:
    if set(keys) >= _VERSION_3:
        return BadFile(
            "this is a project of VIA 3, which keeps images and regions apart. Open it in VIA and "
            "export it as COCO",
            1,
        )
    listed = one_line(", ".join(map(clean, keys))) or "no keys"
    return BadFile(
        f"this JSON has {listed}; VIA has _via_img_metadata, or an object with filename and "
        "regions for each image",
        1,
    )


@dataclass
class _Entry:
    """One image's part of the file."""

    line: int
    name: str = ""
    regions: list[tuple[int, Any]] = field(default_factory=list)
    """Line and value of each."""


def _read_entry(reader: JsonReader) -> _Entry | int:
    """Read what should be an image, an object with `filename` and `regions`; else its line."""
    entry, has_regions = _Entry(reader.line), False
    if reader.kind != "an object":
        reader.value()
        return entry.line
    for key in reader.members():
        if key == "regions" and reader.kind == "a list":
            entry.regions += [(line, reader.value()) for line in reader.items()]
            has_regions = True
        elif key == "regions" and reader.kind == "an object":  # Version 1: by number.
            entry.regions += [(reader.line, reader.value()) for _ in reader.members()]
            has_regions = True
        elif key == "filename":
            entry.name = _name_of(reader.value())
    return entry if has_regions else entry.line


def _name_of(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    return clean(last_component(value) if "://" in value else value.replace("\\", "/"))


def _region(line: int, region: Any, attribute: str | None, what: str) -> RawLabel | RawProblem:
    try:
        if not isinstance(region, dict):
            raise BadLabel("not an object", f"{shown(region)} is in the place of a region")
        shape = region.get("shape_attributes")
        if not isinstance(shape, dict):
            raise BadLabel("missing value", "shape_attributes is missing, or not an object")
        label = shape_label(shape, class_in(region, attribute), what)
    except BadLabel as problem:
        return RawProblem(line, problem.kind, str(problem), what)
    label.line = line
    return label


def shape_label(shape: dict[str, Any], class_token: str, what: str) -> RawLabel:
    """Return the label of VIA's `shape_attributes`, in pixels.

    Raises:
        BadLabel: a shape without extent, or values that are not numbers.
    """
    kind = shape.get("name")
    if kind == "rect":
        x, y, w, h = (number(shape.get(key), key) for key in ("x", "y", "width", "height"))
        return box_label(class_token, (x, y, w, h), what)
    if kind == "polygon":
        xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
        if not isinstance(xs, list) or not isinstance(ys, list) or not xs or len(xs) != len(ys):
            raise BadLabel(
                "wrong number of values",
                f"all_points_x is {shown(xs)} and all_points_y {shown(ys)}, not as many of both",
            )
        flat = (
            number(value, f"{axis} of point {index}")
            for index, point in enumerate(zip(xs, ys, strict=True), start=1)
            for axis, value in zip("xy", point, strict=True)
        )
        return polygon_label(class_token, (tuple(flat),), what)
    if kind == "circle":
        cx, cy, r = (number(shape.get(key), key) for key in ("cx", "cy", "r"))
        return polygon_label(class_token, (ellipse(cx, cy, r, r),), what)
    if kind == "ellipse":
        cx, cy, rx, ry = (number(shape.get(key), key) for key in ("cx", "cy", "rx", "ry"))
        angle = number(shape.get("theta", 0), "theta")
        return polygon_label(class_token, (ellipse(cx, cy, rx, ry, angle),), what)
    raise BadLabel(NOT_A_SHAPE, f"a region of the shape {shown(kind)} is not a box or polygon")


def _without_image(entry: RawLabel | RawProblem) -> RawProblem:
    if isinstance(entry, RawProblem):
        return entry
    return RawProblem(entry.line, "unknown image", "its entry has no filename", entry.text)
