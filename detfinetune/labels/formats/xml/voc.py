"""Pascal VOC: one XML file an image, `<annotation>` with an `<object>` for each object.

LabelImg, Roboflow (whose `<polygon>` is read) and roLabelImg (`<robndbox>`: centre, size and angle
in radians, clockwise) write it, ImageNet's boxes come in it. Coordinates are taken as written:
whether the first pixel is 0 or, as in PASCAL VOC itself, 1 is for the caller to know.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from xml.etree.ElementTree import Element

from detfinetune.labels.dataset.records import Polygon
from detfinetune.labels.formats.raw_labels import (
    BadLabel,
    Document,
    RawImage,
    RawLabel,
    RawProblem,
    bounding_box,
)
from detfinetune.labels.formats.shapes import rotated_box
from detfinetune.labels.formats.xml.xml_text import (
    class_name,
    first_tags,
    number,
    one_line,
    parse_xml,
    whole_pixels,
)

_MOST_SHOWN = 40
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ROTATED = ("cx", "cy", "w", "h", "angle")
_NUMBERED = re.compile(r"([xy])(\d{1,6})", re.ASCII)


def detect_voc(head: str) -> str:
    """Return by what the beginning of a file shows Pascal VOC, or nothing."""
    tags = first_tags(head)
    if tags[:1] != ["annotation"]:
        return ""
    if "object" in tags:
        for box in ("bndbox", "robndbox"):
            if box in tags:
                return f"<annotation> with <object> and <{box}>"
    if "filename" in tags and "size" in tags:
        return "<annotation> with <filename> and <size>"
    return ""


def parse_voc(text: str) -> Document:
    """Read one file: one image, its size and every `<object>` as a label or a problem.

    Raises:
        BadFile: not well-formed XML, or XML of another kind.
    """
    root, lines = parse_xml(text, "annotation", "Pascal VOC")
    # Some programs write the path on their own disk.
    name = (root.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    image = RawImage(name, size=_image_size(root))
    objects = list(root.iter("object"))
    for element in objects:
        try:
            image.labels.append(_read_object(element, lines[element]))
        except BadLabel as bad:
            texts = (child.text or "" for child in islice(element.iter(), _MOST_SHOWN))
            shown = one_line(" ".join(texts))
            image.problems.append(RawProblem(lines[element], bad.kind, str(bad), shown))
    return Document([image], tally=_tally(objects))


def _image_size(root: Element) -> tuple[int, int] | None:
    size = root.find("size")
    if size is None:
        return None
    width, height = whole_pixels(size.findtext("width")), whole_pixels(size.findtext("height"))
    return (width, height) if width and height else None


def _tally(objects: list[Element]) -> Counter[str]:
    return Counter(
        {
            "<part> of objects ignored": sum(len(e.findall("part")) for e in objects),
            "objects marked difficult, read like any other": sum(
                (e.findtext("difficult") or "").strip() in ("1", "true") for e in objects
            ),
        }
    )


def _read_object(element: Element, line: int) -> RawLabel:
    """Read the box and the polygons that are `element`'s own, not those of its parts.

    Raises:
        BadLabel: no box or polygon, more than one box, or values that are not finite numbers.
    """
    name = class_name(element.findtext("name"))
    polygons = tuple(
        polygon for part in element.findall("polygon") if (polygon := _read_polygon(part))
    )
    rotated = element.find("robndbox")
    if rotated is not None:
        cx, cy, w, h, angle = map(number, _values(rotated, _ROTATED), _ROTATED)
        polygons = (*polygons, rotated_box(cx, cy, w, h, angle))
    boxes = element.findall("bndbox")
    if len(boxes) > 1:
        raise BadLabel("several boxes", f"{len(boxes)} <bndbox> in one <object>")
    if boxes:
        x1, y1, x2, y2 = values = _values(boxes[0], _CORNERS)
        xyxy = (number(x1, "xmin"), number(y1, "ymin"), number(x2, "xmax"), number(y2, "ymax"))
        shown = f"{name} {' '.join(values)}"
    elif polygons:
        xyxy = bounding_box(polygons)
        shown = f"{name} polygon in {xyxy[0]:g} {xyxy[1]:g} {xyxy[2]:g} {xyxy[3]:g}"
    else:
        raise BadLabel("no box", "the <object> has no <bndbox>, <polygon> or <robndbox>")
    return RawLabel(
        name, xyxy, polygons=polygons, has_box=bool(boxes), line=line, text=one_line(shown)
    )


def _values(element: Element, names: tuple[str, ...]) -> list[str]:
    """Return the texts of the children of `element` that `names` names.

    Raises:
        BadLabel: one is missing or given twice.
    """
    values = {child.tag: child.text or "" for child in element}
    if len(values) != len(element):
        for name in names:
            if len(element.findall(name)) > 1:
                raise BadLabel("several values", f"<{element.tag}> gives {name} more than once")
    try:
        return [values[name] for name in names]
    except KeyError as missing:
        raise BadLabel("no box", f"<{element.tag}> has no <{missing.args[0]}>") from None


def _read_polygon(element: Element) -> Polygon:
    """Return the points of a `<polygon>`: `<x1><y1><x2>...`, or `<pt>` with `<x>` and `<y>`.

    Raises:
        BadLabel: it has children, but they do not make a polygon.
    """
    values: dict[tuple[int, str], float] = {}
    for child in element:
        if child.tag in ("pt", "point"):
            values.update(_point(child, len(values)))
        elif named := _NUMBERED.fullmatch(child.tag):
            key = (int(named[2]), named[1])
            if key in values:
                raise BadLabel("several values", f"<polygon> gives {child.tag} more than once")
            values[key] = number(child.text or "", f"{child.tag} of the polygon")
    if not len(element):
        return ()
    points = sorted({index for index, _ in values})
    if len(values) != 2 * len(points):
        raise BadLabel("bad polygon", "a point of the <polygon> lacks its x or its y")
    if len(points) < 3:
        raise BadLabel("too few points", f"the <polygon> has {len(points)} points; it takes 3")
    return tuple(values[index, axis] for index in points for axis in "xy")


def _point(child: Element, index: int) -> dict[tuple[int, str], float]:
    x, y = _values(child, ("x", "y"))
    return {
        (index, "x"): number(x, "x of the polygon"),
        (index, "y"): number(y, "y of the polygon"),
    }
