"""Pascal VOC: one XML file an image, `<annotation>` with an `<object>` for each object.

LabelImg, Roboflow (whose `<polygon>` is read) and roLabelImg (`<robndbox>`: centre, size and angle
in radians, clockwise) write it, ImageNet's boxes come in it. Coordinates are taken as written:
whether the first pixel is 0 or, as in PASCAL VOC itself, 1 is for the caller to know.
"""

from __future__ import annotations

import re
from itertools import islice
from xml.etree.ElementTree import Element

from detfinetune.labels.dataset.records import Polygon
from detfinetune.labels.formats.raw_labels import (
    BadFile,
    BadLabel,
    Document,
    RawImage,
    RawLabel,
    RawProblem,
    hull,
)
from detfinetune.labels.formats.shapes import rotated_box
from detfinetune.labels.formats.xml.voc_plain import difficult_note, last_component, parse_plain
from detfinetune.labels.formats.xml.xml_text import (
    class_name,
    element_lines,
    has_tag,
    number,
    one_line,
    one_line_end,
    parse_xml,
    root_tag,
    whole_pixels,
)

_OBJECT = frozenset(("object",))
_MOST_SHOWN = 40
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_TURNED = ("cx", "cy", "w", "h", "angle")
_NUMBERED = re.compile(r"([xy])(\d{1,6})", re.ASCII)


def detect_voc(head: str) -> str:
    """Return what in the beginning of a file says Pascal VOC; empty when nothing does."""
    if root_tag(head) != "annotation":
        return ""
    if has_tag(head, "object"):
        for box in ("bndbox", "robndbox"):
            if has_tag(head, box):
                return f"<annotation> with <object> and <{box}>"
    if has_tag(head, "filename") and has_tag(head, "size"):
        return "<annotation> with <filename> and <size>"
    return ""


def parse_voc(text: str) -> Document:
    """Read one file: one image, its size and every `<object>` as a label or a problem.

    Raises:
        BadFile: not well-formed XML, or XML of another kind.
    """
    text = one_line_end(text)
    return parse_plain(text) or parse_tree(text)


def parse_tree(text: str) -> Document:
    """Read any file as `parse_voc` does, by way of its tree.

    Raises:
        BadFile: not well-formed XML, or XML of another kind.
    """
    root = parse_xml(text)
    if root.tag != "annotation":
        line = element_lines(root, text, frozenset((root.tag,)))[root]
        raise BadFile(
            f"starts with <{one_line(root.tag)}>; Pascal VOC starts with <annotation>", line
        )
    image = RawImage(last_component(root.findtext("filename")), size=_image_size(root))
    lines = element_lines(root, text, _OBJECT)
    for element, line in lines.items():
        try:
            image.labels.append(_read_object(element, line))
        except BadLabel as bad:
            texts = (child.text or "" for child in islice(element.iter(), _MOST_SHOWN))
            shown = one_line(" ".join(texts))
            image.problems.append(RawProblem(line, bad.kind, str(bad), shown))
    return Document([image], notes=_notes(list(lines)))


def _image_size(root: Element) -> tuple[int, int] | None:
    size = root.find("size")
    if size is None:
        return None
    width, height = whole_pixels(size.findtext("width")), whole_pixels(size.findtext("height"))
    return (width, height) if width and height else None


def _notes(objects: list[Element]) -> list[str]:
    notes = []
    parts = sum(len(element.findall("part")) for element in objects)
    if parts:
        notes.append(f"{parts} <part> of objects passed over; only whole objects are read")
    difficult = sum((e.findtext("difficult") or "").strip() in ("1", "true") for e in objects)
    return notes + difficult_note(difficult)


def _read_object(element: Element, line: int) -> RawLabel:
    """Read the box and the outlines that are `element`'s own, not those of its parts.

    Raises:
        BadLabel: no box or outline, more than one box, or values that are no finite numbers.
    """
    name = class_name(element.findtext("name"))
    polygons = tuple(
        polygon for outline in element.findall("polygon") if (polygon := _read_polygon(outline))
    )
    turned = element.find("robndbox")
    if turned is not None:
        cx, cy, w, h, angle = map(number, _values(turned, _TURNED), _TURNED)
        polygons = (*polygons, rotated_box(cx, cy, w, h, angle))
    boxes = element.findall("bndbox")
    if len(boxes) > 1:
        raise BadLabel("several boxes", f"{len(boxes)} <bndbox> in one <object>")
    if boxes:
        x1, y1, x2, y2 = values = _values(boxes[0], _CORNERS)
        corners = (number(x1, "xmin"), number(y1, "ymin"), number(x2, "xmax"), number(y2, "ymax"))
        shown = f"{name} {' '.join(values)}"
    elif polygons:
        corners = hull(polygons)
        shown = f"{name} outline in {corners[0]:g} {corners[1]:g} {corners[2]:g} {corners[3]:g}"
    else:
        raise BadLabel("no box", "the <object> has no <bndbox>, <polygon> or <robndbox>")
    return RawLabel(
        name, corners, polygons=polygons, has_box=bool(boxes), line=line, text=one_line(shown)
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


def _read_polygon(outline: Element) -> Polygon:
    """Return the points of a `<polygon>`: `<x1><y1><x2>...`, or `<pt>` with `<x>` and `<y>`.

    Raises:
        BadLabel: it has children, but they make no outline.
    """
    values: dict[tuple[int, str], float] = {}
    for child in outline:
        if child.tag in ("pt", "point"):
            values.update(_point(child, len(values)))
        elif named := _NUMBERED.fullmatch(child.tag):
            key = (int(named[2]), named[1])
            if key in values:
                raise BadLabel("several values", f"<polygon> gives {child.tag} more than once")
            values[key] = number(child.text or "", f"{child.tag} of the outline")
    if not len(outline):
        return ()
    points = sorted({index for index, _ in values})
    if len(values) != 2 * len(points):
        raise BadLabel("odd outline", "a point of the <polygon> lacks its x or its y")
    if len(points) < 3:
        raise BadLabel("too few points", f"the <polygon> has {len(points)} points; it takes 3")
    return tuple(values[index, axis] for index in points for axis in "xy")


def _point(child: Element, index: int) -> dict[tuple[int, str], float]:
    x, y = _values(child, ("x", "y"))
    return {
        (index, "x"): number(x, "x of the outline"),
        (index, "y"): number(y, "y of the outline"),
    }
