"""COCO JSON: `images`, `annotations` and `categories` in one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from detfinetune.labels.formats.json_text import JsonReader, paths_in
from detfinetune.labels.formats.json_values import (
    NOT_A_SHAPE,
    box_label,
    clean,
    last_component,
    merge_by_name,
    number,
    one_line,
    outline_label,
    shown,
    size_of,
)
from detfinetune.labels.formats.objects import (
    BadFile,
    BadLabel,
    Document,
    RawImage,
    RawLabel,
    RawProblem,
)
from detfinetune.labels.formats.run_lengths import BAD_MASK, read_run_lengths, tight_box
from detfinetune.labels.records import Polygon

_LISTS = ("images", "annotations", "categories")
_SIGNS = (
    (("images", "[]", "file_name"), ("images", "[]", "id")),
    (("images", "[]", "coco_url"), ("images", "[]", "id")),
    (("annotations", "[]", "image_id"), ("annotations", "[]", "id")),
    (("categories", "[]", "name"), ("categories", "[]", "id")),
    (("info",), ("licenses",)),
)
_BOX = ("the left of the box", "its top", "its width", "its height")
_OTHER_KINDS = {
    "caption": "captions of whole pictures, not objects; take the instances_*.json beside it",
    "segments_info": "panoptic labels, whose masks lie in PNG files; take the instances_*.json",
}

Id = int | str


def recognise_coco(head: str) -> str:
    """Return by what the beginning of a file (4,000 characters will do) shows COCO, or nothing.

    The keys may come in any order, so that one of the three lists is enough.
    """
    found = paths_in(head)
    top = [key for key in _LISTS if (key,) in found]
    if len(top) > 1 or any(set(sign) <= found for sign in _SIGNS):
        return f"JSON with {' and '.join(top or ['info', 'licenses'])}"
    return ""


def parse_coco(text: str) -> Document:
    """Read a COCO file; ids may be numbers or strings, in any order and with gaps.

    Objects carry the name of their category, and the document's classes are these names sorted by
    category id. Crowds and masks, outlines or run lengths, are kept.

    Raises:
        BadFile: no valid JSON, another kind of JSON, or ids given twice.
    """
    content = _read(text)
    document = Document(notes=content.notes())
    names, document.classes = _class_names(content.categories, document.notes)
    by_text = {str(key): image for key, image in content.images.items()}
    for image_id, objects in content.objects.items():
        image = content.images.get(image_id) or by_text.get(str(image_id))
        for category_id, entry in objects:
            if image is None:
                document.problems.append(
                    entry if isinstance(entry, RawProblem) else _unknown_image(entry, image_id)
                )
                continue
            checked = _with_class(entry, category_id, names, image)
            if isinstance(checked, RawLabel):
                image.labels.append(checked)
            else:
                image.problems.append(checked)
    document.problems += content.problems
    document.images = merge_by_name(list(content.images.values()), document.notes)
    return document


@dataclass
class _Content:
    """What a file holds, before ids are looked up: categories may come last."""

    images: dict[Id, RawImage] = field(default_factory=dict)
    categories: dict[Id, str] = field(default_factory=dict)
    objects: dict[Id, list[tuple[Id | None, RawLabel | RawProblem]]] = field(default_factory=dict)
    problems: list[RawProblem] = field(default_factory=list)
    """Annotations without a usable image id."""

    unusable: dict[str, list[int]] = field(default_factory=dict)
    """Lines of images and categories that are no such thing."""

    flat_outlines: int = 0
    other_kinds: dict[str, int] = field(default_factory=dict)
    annotations: int = 0

    def notes(self) -> list[str]:
        """Say what was passed over, and what was read in another way than COCO's."""
        notes = [
            f"{len(lines)} of '{key}' without id or name, first on line {lines[0]}: passed over, "
            "and the annotations that need them are listed as problems"
            for key, lines in self.unusable.items()
        ]
        if self.flat_outlines:
            notes.append(
                f"{self.flat_outlines} outlines are a flat list of numbers instead of a list of "
                "outlines; each was taken as one outline"
            )
        return notes


def _read(text: str) -> _Content:
    reader = JsonReader(text)
    if reader.kind != "an object":
        raise _another_kind(reader)
    content = _Content()
    keys = []
    for key in reader.keys():
        keys.append(key)
        if key in _LISTS and reader.kind != "a list":
            raise BadFile(f"'{key}' is {reader.kind}; COCO has a list there", reader.line)
        if key == "annotations":
            for line in reader.items():
                _add_annotation(reader.value(), line, content)
        elif key in _LISTS:
            for line in reader.items():
                _add_entry(key, reader.value(), line, content)
    reader.end()
    for kind, count in content.other_kinds.items():
        if count == content.annotations:
            raise BadFile(f"this COCO file holds {_OTHER_KINDS[kind]}", 1)
    if missing := [key for key in _LISTS if key not in keys]:
        listed = one_line(", ".join(keys)) or "no keys"
        raise BadFile(
            f"this JSON has {listed}, but not {' or '.join(repr(key) for key in missing)}; a COCO "
            "file of boxes or masks has images, annotations and categories",
            1,
        )
    return content


def _another_kind(reader: JsonReader) -> BadFile:
    if reader.kind != "a list":
        return BadFile(f"the JSON is {reader.kind}; a COCO file is an object", reader.line)
    for line in reader.items():
        item = reader.value()
        if isinstance(item, dict) and "score" in item and "image_id" in item:
            return BadFile(
                "this is a list of detections with scores, a model's results and not labels", line
            )
    reader.end()
    return BadFile("the JSON is a list; a COCO file is an object with images and annotations", 1)


def _identity(value: Any) -> Id | None:
    if type(value) is int or type(value) is str:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def _add_entry(key: str, item: Any, line: int, content: _Content) -> None:
    """Take an image or a category.

    Raises:
        BadFile: its id was there already, so that nobody can say whose the annotations are.
    """
    identity = _identity(item.get("id")) if isinstance(item, dict) else None
    name = _name_of(key, item) if identity is not None else ""
    if identity is None or not name:
        content.unusable.setdefault(key, []).append(line)
        return
    known: dict[Id, Any] = content.images if key == "images" else content.categories
    if identity in known:
        raise BadFile(f"the id {shown(identity)} is given to two of '{key}'", line)
    if key == "categories":
        content.categories[identity] = name
    else:
        size = size_of(item.get("width"), item.get("height"))
        content.images[identity] = RawImage(name, size=size, line=line)


def _name_of(key: str, item: dict[str, Any]) -> str:
    if key == "categories":
        name = item.get("name")
        return clean(name.strip()) if isinstance(name, str) else str(name) * (type(name) is int)
    name = item.get("file_name")
    if isinstance(name, str):
        return clean(name).replace("\\", "/")
    address = item.get("coco_url")  # LVIS has no file names.
    return clean(last_component(address)) if isinstance(address, str) else ""


def _add_annotation(item: Any, line: int, content: _Content) -> None:
    content.annotations += 1
    image_id = category_id = None
    what = "annotation"
    entry: RawLabel | RawProblem
    try:
        if not isinstance(item, dict):
            raise BadLabel("not an object", f"{shown(item)} stands where an annotation should")
        identity = item.get("id")
        what = f"annotation {identity if type(identity) is int else one_line(str_of(identity))}"
        image_id = _identity(item.get("image_id"))
        category_id = _identity(item.get("category_id"))
        entry = _label(item, what, content)
        entry.line = line
    except BadLabel as problem:
        entry = RawProblem(line, problem.kind, str(problem), what)
    if image_id is not None:
        content.objects.setdefault(image_id, []).append((category_id, entry))
    elif isinstance(entry, RawProblem):
        content.problems.append(entry)
    else:
        content.problems.append(
            RawProblem(line, "unknown image", "image_id is missing or no id", entry.text)
        )


def str_of(identity: Any) -> str:
    """Return an id of any type for the ledger; empty where there is none."""
    return "" if identity is None else shown(identity)


def _label(item: dict[str, Any], what: str, content: _Content) -> RawLabel:
    box, outline = item.get("bbox"), item.get("segmentation")
    crowd = item.get("iscrowd")
    if crowd not in (0, 1, None):
        raise BadLabel("not a number", f"iscrowd is {shown(crowd)}, not 0 or 1")
    polygons: tuple[Polygon, ...] = ()
    mask = None
    if isinstance(outline, dict):
        mask = read_run_lengths(outline)
    elif isinstance(outline, list):
        polygons = tuple(_outlines(outline, content)) if outline else ()
    elif outline is not None:
        raise BadLabel("not a number", f"segmentation is {shown(outline)}")
    if box is not None and box != []:
        if not isinstance(box, list) or len(box) != 4:
            raise BadLabel(
                "wrong number of values", f"bbox is {shown(box)}, not [left, top, width, height]"
            )
        x, y, w, h = map(number, box, _BOX)
        label = box_label("", (x, y, w, h), what)
        label.polygons = polygons
    elif polygons:
        label = outline_label("", polygons, what)
    elif mask is not None:
        label = RawLabel("", tight_box(mask), has_box=False, text=f"{what}: mask")
    else:
        raise _no_shape(item, content)
    label.mask = mask
    label.crowd = crowd == 1
    return label


def _no_shape(item: dict[str, Any], content: _Content) -> BadLabel:
    for key in _OTHER_KINDS:
        if key in item:
            content.other_kinds[key] = content.other_kinds.get(key, 0) + 1
    has = ", ".join(key for key in ("keypoints", *_OTHER_KINDS) if key in item)
    return BadLabel(
        NOT_A_SHAPE,
        f"neither bbox nor segmentation is given{f', only {has}' if has else ''}",
    )


def _outlines(outline: list[Any], content: _Content) -> Iterator[Polygon]:
    """Yield the outlines of a `segmentation` that is a list with anything in it."""
    if type(outline[0]) in (int, float):
        content.flat_outlines += 1
        outline = [outline]
    for index, points in enumerate(outline, start=1):
        if not isinstance(points, list):
            raise BadLabel("not a number", f"outline {index} is {shown(points)}, not a list")
        if len(points) % 2:
            raise BadLabel(
                "wrong number of values",
                f"outline {index} has {len(points)} numbers, which make no x and y pairs",
            )
        if points:
            yield tuple(number(value, f"a value of outline {index}") for value in points)


def _class_names(
    categories: dict[Id, str], notes: list[str]
) -> tuple[dict[Id, str], tuple[str, ...]]:
    """Return names by id as annotations may write it, and the class list in the order of ids."""
    ordered = sorted(categories, key=_id_order)
    classes = tuple(dict.fromkeys(categories[identity] for identity in ordered))
    if len(classes) < len(ordered):
        notes.append(
            f"{len(ordered)} categories have only {len(classes)} names; those of one name were "
            "taken as one class"
        )
    by_text: dict[Id, str] = {str(identity): name for identity, name in categories.items()}
    return by_text | categories, classes


def _id_order(identity: Id) -> tuple[int, int, str]:
    if isinstance(identity, str):
        digits = identity.isascii() and identity.isdigit() and len(identity) < 19
        return (0, int(identity), "") if digits else (1, 0, identity)
    return 0, identity, ""


def _unknown_image(label: RawLabel, image_id: Id) -> RawProblem:
    reason = f"image_id {shown(image_id)} is not among the images"
    return RawProblem(label.line, "unknown image", reason, label.text)


def _with_class(
    entry: RawLabel | RawProblem, category_id: Id | None, names: dict[Id, str], image: RawImage
) -> RawLabel | RawProblem:
    """Give an object its class name, and see that its mask is of its image's size."""
    if isinstance(entry, RawProblem):
        return entry
    name = names.get(category_id) if category_id is not None else None
    if name is None and category_id is not None:
        name = names.get(str(category_id))
    if name is None:
        reason = (
            "category_id is missing or no id"
            if category_id is None
            else f"category_id {shown(category_id)} is not among the categories"
        )
        return RawProblem(entry.line, "unknown class", reason, entry.text)
    if entry.mask and image.size and entry.mask.size != (image.size[1], image.size[0]):
        height, width = entry.mask.size
        reason = f"a mask of {width}x{height} on an image of {image.size[0]}x{image.size[1]}"
        return RawProblem(entry.line, BAD_MASK, reason, entry.text)
    entry.class_token = name
    return entry
