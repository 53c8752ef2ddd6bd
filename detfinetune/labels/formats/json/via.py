"""VGG Image Annotator: its projects (version 2) and its annotations as JSON (versions 1 and 2)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from detfinetune.labels.formats.json.json_text import JsonReader, paths_in
from detfinetune.labels.formats.json.json_values import (
    NOT_A_SHAPE,
    box_label,
    clean,
    last_component,
    merge_by_name,
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
        BadFile: no valid JSON, another kind of JSON, or a project of version 3.
    """
    reader = JsonReader(text)
    if reader.kind != "an object":
        raise BadFile(f"the JSON is {reader.kind}; a VIA file is an object", reader.line)
    content = _Content()
    for key in reader.members():
        content.keys.append(key)
        if key == "_via_img_metadata" and reader.kind == "an object":
            content.entries_at = key
            for _ in reader.members():
                _read_entry(reader, content)
        elif key == "_via_attributes":
            content.attributes = reader.value()
        elif not key.startswith("_via_"):
            _read_entry(reader, content)
    reader.end()
    content.check()
    document = Document(notes=content.notes())
    regions = [region for entry in content.entries for _, region in entry.regions]
    attribute = choose_class_attribute(regions, document.notes)
    document.classes = declared_classes(content.attributes, attribute)
    for entry in content.entries:
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
    document.images = merge_by_name(document.images, document.notes)
    return document


@dataclass
class _Entry:
    """One image's part of the file."""

    line: int
    name: str = ""
    regions: list[tuple[int, Any]] = field(default_factory=list)
    """Line and value of each."""


@dataclass
class _Content:
    keys: list[str] = field(default_factory=list)
    entries_at: str = ""
    attributes: Any = None
    entries: list[_Entry] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    """Lines of what stands where an image should, and is none."""

    def check(self) -> None:
        """Make sure that this is a VIA file.

        Raises:
            BadFile: it is not, or one of version 3.
        """
        if self.entries or self.entries_at:
            return
        if set(self.keys) >= _VERSION_3:
            raise BadFile(
                "this is a project of VIA 3, which keeps images and regions apart; open it in VIA "
                "and export it as COCO",
                1,
            )
        listed = one_line(", ".join(map(clean, self.keys))) or "no keys"
        raise BadFile(
            f"this JSON has {listed}; VIA has _via_img_metadata, or an object with filename and "
            "regions for each image",
            1,
        )

    def notes(self) -> list[str]:
        """Say what was passed over."""
        if not self.others:
            return []
        return [
            f"entries without filename and regions, passed over: {len(self.others)}, first on "
            f"line {self.others[0]}"
        ]


def _read_entry(reader: JsonReader, content: _Content) -> None:
    """Read what should be an image: an object with `filename` and `regions`."""
    entry = _Entry(reader.line)
    if reader.kind != "an object":
        content.others.append(entry.line)
        reader.value()
        return
    seen: Counter[str] = Counter()
    for key in reader.members():
        if key == "regions" and reader.kind == "a list":
            entry.regions += [(line, reader.value()) for line in reader.items()]
        elif key == "regions" and reader.kind == "an object":  # Version 1: by number.
            entry.regions += [(reader.line, reader.value()) for _ in reader.members()]
        elif key == "filename":
            entry.name = _name_of(reader.value())
        else:
            continue
        seen[key] += 1
    if seen["regions"]:
        content.entries.append(entry)
    else:
        content.others.append(entry.line)


def _name_of(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    return clean(last_component(value) if "://" in value else value.replace("\\", "/"))


def _region(line: int, region: Any, attribute: str | None, what: str) -> RawLabel | RawProblem:
    try:
        if not isinstance(region, dict):
            raise BadLabel("not an object", f"{shown(region)} stands where a region should")
        shape = region.get("shape_attributes")
        if not isinstance(shape, dict):
            raise BadLabel("missing value", "shape_attributes is missing, or no object")
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
