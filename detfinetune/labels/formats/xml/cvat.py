"""CVAT's XML 1.1: "CVAT for images" (`<image>`) and "CVAT for video" (`<track>`).

Every shape of an `<image>` is an object. In a video, every shape of a `<track>` that is not
marked `outside` is one, in the image of its frame.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from detfinetune.labels.formats.raw_labels import Document, RawImage, RawLabel, RawProblem
from detfinetune.labels.formats.xml.cvat_shapes import SHAPES, read_shape
from detfinetune.labels.formats.xml.cvat_video import Video, outside
from detfinetune.labels.formats.xml.xml_text import (
    class_name,
    first_tags,
    one_line,
    parse_xml,
    whole_pixels,
)

_OWNERS = ("image", "track")
# What an image or track may hold beside shapes.
_NO_OBJECTS = frozenset((*_OWNERS, "tag", "attribute"))
_META = ("meta", "labels", "task", "job", "project")


def detect_cvat(head: str) -> str:
    """Return by what the beginning of a file shows CVAT, or nothing."""
    tags = first_tags(head)
    if tags[:1] != ["annotations"]:
        return ""
    found = next((tag for tag in (*_OWNERS, *_META) if tag in tags), "")
    return f"<annotations> with <{found}>" if found else ""


def parse_cvat(text: str) -> Document:
    """Read one file: its images, or the frames of its video, with every shape.

    Raises:
        BadFile: not well-formed XML, or XML of another kind.
    """
    root, lines = parse_xml(text, "annotations", "CVAT")
    owners = [element for element in lines if element.tag in _OWNERS]
    document = Document(classes=_classes(root))
    for owner in owners:
        if owner.tag == "image":
            _read_image(owner, lines, document)
    tracks = [owner for owner in owners if owner.tag == "track"]
    video = Video(root)
    if tracks or (not owners and video.is_interpolated):
        video.read(tracks, lines, document)
    _add_misplaced(lines, document)
    image_level = sum(1 for owner in owners for child in owner if child.tag == "tag")
    if image_level:
        document.notes.append(f"{image_level} <tag> of whole images ignored; they have no box")
    return document


def _classes(root: Element) -> tuple[str, ...]:
    """Return the names of `<labels>`, without the parts of a skeleton."""
    names = {}
    for meta in root.findall("meta"):
        for labels in meta.iter("labels"):
            for label in labels.findall("label"):
                if not class_name(label.findtext("parent")):
                    names[class_name(label.findtext("name"))] = True
    return tuple(name for name in names if name)


def _read_image(element: Element, lines: dict[Element, int], document: Document) -> None:
    """Add an `<image>` to the document; without a name, its objects alone, as problems."""
    name = (element.get("name") or "").strip().replace("\\", "/")
    width, height = whole_pixels(element.get("width")), whole_pixels(element.get("height"))
    size = (width, height) if width and height else None
    split = (element.get("subset") or "").strip()
    image = RawImage(name, size=size, line=lines[element], split=split)
    for child in element:
        if child.tag in _NO_OBJECTS:
            continue
        shape = read_shape(child, child.get("label"), lines[child], size)
        if not name:
            reason = f"its <image>, of line {image.line}, has no name"
            shape = RawProblem(shape.line, "no image name", reason, shape.text)
            document.problems.append(shape)
        elif isinstance(shape, RawLabel):
            image.labels.append(shape)
        else:
            image.problems.append(shape)
    if name:
        document.images.append(image)
    else:
        document.notes.append(f"line {image.line}: an <image> without a name is ignored")


def _add_misplaced(lines: dict[Element, int], document: Document) -> None:
    """Report shapes outside of images and tracks; those of a skeleton belong to it."""
    for parent in lines:
        if parent.tag in (*_OWNERS, "skeleton"):
            continue
        for element in parent:
            if element.tag in SHAPES and not outside(element):
                reason = f"the <{element.tag}> is in <{one_line(parent.tag)}>, not in an <image>"
                shown = one_line(f"{element.get('label') or ''} {element.tag}")
                problem = RawProblem(lines[element], "belongs to no image", reason, shown)
                document.problems.append(problem)
