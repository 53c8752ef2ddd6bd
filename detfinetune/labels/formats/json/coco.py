"""COCO JSON: `images`, `annotations` and `categories` in one file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from detfinetune.labels.formats.json.coco_annotation import (
    BAD_AREA,
    FLAT_POLYGON,
    LARGEST_ID,
    OTHER_KINDS,
    annotation_id,
    name_annotation,
    read_annotation,
)
from detfinetune.labels.formats.json.json_text import JsonReader, paths_in
from detfinetune.labels.formats.json.json_values import (
    clean,
    last_component,
    one_line,
    shown,
    size_of,
)
from detfinetune.labels.formats.json.rle import BAD_MASK
from detfinetune.labels.formats.raw_labels import (
    BadFile,
    BadLabel,
    Document,
    RawImage,
    RawLabel,
    RawProblem,
)

_LISTS = ("images", "annotations", "categories")
_SIGNS = (
    (("images", "[]", "file_name"), ("images", "[]", "id")),
    (("images", "[]", "coco_url"), ("images", "[]", "id")),
    (("annotations", "[]", "image_id"), ("annotations", "[]", "id")),
    (("categories", "[]", "name"), ("categories", "[]", "id")),
    (("info",), ("licenses",)),
)

Id = int | str


def detect_coco(head: str) -> str:
    """Return how the head of a file (4,000 characters are enough) shows COCO, or nothing.

    The keys may come in any order, so one of the three lists is enough.
    """
    found = paths_in(head)
    top = [key for key in _LISTS if (key,) in found]
    if len(top) > 1 or any(set(sign) <= found for sign in _SIGNS):
        return f"JSON with {' and '.join(top or ['info', 'licenses'])}"
    return ""


def parse_coco(text: str) -> Document:
    """Read a COCO file; ids may be numbers or strings, in any order and with gaps.

    Objects carry the name of their category, and the document's classes are these names sorted by
    category id. Crowds, polygons, RLE masks, areas and ids are kept.

    Raises:
        BadFile: no valid JSON, another kind of JSON, or ids given twice.
    """
    content = _read(text)
    document = Document(notes=content.notes(), problems=content.problems)
    names, document.classes = _class_names(content.categories, document.notes)
    document.category_ids = _category_ids(content, document.notes)
    by_text = {str(key): image for key, image in content.images.items()}
    for image_id, objects in content.objects.items():
        image = content.images.get(image_id) or by_text.get(str(image_id))
        if image is None:
            document.problems += [_of_no_image(entry, image_id) for _, entry in objects]
            continue
        for category_id, entry in objects:
            checked = _with_class(entry, category_id, names, image)
            if isinstance(checked, RawLabel):
                image.labels.append(checked)
            else:
                image.problems.append(checked)
    document.images = list(content.images.values())
    return document


@dataclass
class _Content:
    """Content of a file before ids are resolved: categories may come last."""

    images: dict[Id, RawImage] = field(default_factory=dict)
    categories: dict[Id, str] = field(default_factory=dict)
    objects: dict[Id, list[tuple[Id | None, RawLabel | RawProblem]]] = field(default_factory=dict)
    """By image id, each with its category id."""

    problems: list[RawProblem] = field(default_factory=list)
    """Annotations without a usable image id."""

    unusable: dict[str, list[int]] = field(default_factory=dict)
    """Lines of invalid images and categories."""

    seen: Counter[str] = field(default_factory=Counter)
    annotations: int = 0

    def notes(self) -> list[str]:
        """Return what was ignored, and what was read although COCO does not allow it."""
        notes = [
            f"entries of '{key}' without id or name, ignored (the annotations that need them "
            f"are listed as problems): {len(lines)}, first on line {lines[0]}"
            for key, lines in self.unusable.items()
        ]
        if count := self.seen[FLAT_POLYGON]:
            notes.append(
                f"segmentations that are a flat list of numbers, each read as one polygon: {count}"
            )
        if count := self.seen[BAD_AREA]:
            notes.append(f"areas that are not numbers or negative, computed instead: {count}")
        return notes


def _read(text: str) -> _Content:
    reader = JsonReader(text)
    if reader.kind != "an object":
        raise _not_an_object(reader)
    content = _Content()
    keys = []
    for key in reader.members():
        keys.append(key)
        if key not in _LISTS:
            continue
        if reader.kind != "a list":
            raise BadFile(f"'{key}' is {reader.kind}; COCO has a list there", reader.line)
        if key == "annotations":
            for line in reader.items():
                _add_annotation(reader.value(), line, content)
        else:
            for line in reader.items():
                _add_entry(key, reader.value(), line, content)
    reader.end()
    _check_kind(keys, content)
    return content


def _check_kind(keys: list[str], content: _Content) -> None:
    for kind, meaning in OTHER_KINDS.items():
        if content.annotations and content.seen[kind] == content.annotations:
            raise BadFile(f"this COCO file holds {meaning}", 1)
    if missing := [key for key in _LISTS if key not in keys]:
        listed = one_line(", ".join(map(clean, keys))) or "no keys"
        raise BadFile(
            f"this JSON has {listed}, but not {' or '.join(repr(key) for key in missing)}; a COCO "
            "file of boxes or masks has images, annotations and categories",
            1,
        )


def _not_an_object(reader: JsonReader) -> BadFile:
    if reader.kind == "a list":
        for line in reader.items():
            item = reader.value()
            if isinstance(item, dict) and "score" in item and "image_id" in item:
                return BadFile(
                    "this is a list of detections with scores, a model's results and not labels",
                    line,
                )
        return BadFile("the JSON is a list; a COCO file is an object with three lists", 1)
    return BadFile(f"the JSON is {reader.kind}; a COCO file is an object", reader.line)


def _identity(value: Any) -> Id | None:
    if type(value) is int or type(value) is str:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def _add_entry(key: str, item: Any, line: int, content: _Content) -> None:
    """Take an image or a category.

    Raises:
        BadFile: its id is a duplicate, so its annotations cannot be assigned.
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
        own = identity if isinstance(identity, int) and abs(identity) < LARGEST_ID else None
        content.images[identity] = RawImage(name, size=size, line=line, identity=own)


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
    what = name_annotation(item)
    entry: RawLabel | RawProblem
    if isinstance(item, dict):
        image_id, category_id = _identity(item.get("image_id")), _identity(item.get("category_id"))
    try:
        entry = read_annotation(item, what, content.seen)
        entry.line = line
    except BadLabel as problem:
        entry = RawProblem(line, problem.kind, str(problem), what, annotation_id(item))
    if image_id is None:
        content.problems.append(_of_no_image(entry, None))
    elif image_id in content.objects:
        content.objects[image_id].append((category_id, entry))
    else:
        content.objects[image_id] = [(category_id, entry)]


def _of_no_image(entry: RawLabel | RawProblem, image_id: Id | None) -> RawProblem:
    if isinstance(entry, RawProblem):
        return entry
    reason = (
        "image_id is missing or no id"
        if image_id is None
        else f"image_id {shown(image_id)} is not among the images"
    )
    return RawProblem(entry.line, "unknown image", reason, entry.text, entry.identity)


def _class_names(
    categories: dict[Id, str], notes: list[str]
) -> tuple[dict[Id, str], tuple[str, ...]]:
    """Return names by id, also by an id's digits, and the class list in the order of ids."""
    ordered = sorted(categories, key=_id_order)
    classes = tuple(dict.fromkeys(categories[identity] for identity in ordered))
    if len(classes) < len(ordered):
        notes.append(
            f"categories of one name were taken as one class: {len(ordered)} categories have "
            f"{len(classes)} different names"
        )
    by_text: dict[Id, str] = {str(identity): name for identity, name in categories.items()}
    return by_text | categories, classes


def _category_ids(content: _Content, notes: list[str]) -> dict[str, int]:
    """Return ids by class name where all ids are whole numbers; the first of one name counts."""
    texts = [
        identity
        for identity in (*content.images, *content.categories)
        if not isinstance(identity, int) or abs(identity) >= LARGEST_ID
    ]
    if texts:
        notes.append(
            f"{len(texts)} image or category ids are text or too large, such as {shown(texts[0])}; "
            "results use new numbers in their place"
        )
    used = Counter(category for found in content.objects.values() for category, _ in found)
    found: dict[str, int] = {}
    # Of several categories of one name, the one that the objects use.
    for identity in sorted(content.categories, key=lambda key: (-used[key], _id_order(key))):
        if identity in texts or not isinstance(identity, int):
            return {}
        found.setdefault(content.categories[identity], identity)
    return found


def _id_order(identity: Id) -> tuple[int, int, str]:
    if isinstance(identity, str):
        digits = identity.isascii() and identity.isdigit() and len(identity) < 19
        return (0, int(identity), "") if digits else (1, 0, identity)
    return 0, identity, ""


def _with_class(
    entry: RawLabel | RawProblem, category_id: Id | None, names: dict[Id, str], image: RawImage
) -> RawLabel | RawProblem:
    """Give an object its class name; check that its mask has its image's size."""
    if isinstance(entry, RawProblem):
        return entry
    if category_id is None:
        reason = "category_id is missing or no id"
        return RawProblem(entry.line, "unknown class", reason, entry.text, entry.identity)
    name = names.get(category_id) or names.get(str(category_id))
    if name is None:
        reason = f"category_id {shown(category_id)} is not among the categories"
        return RawProblem(entry.line, "unknown class", reason, entry.text, entry.identity)
    if entry.mask and image.size and entry.mask.size != (image.size[1], image.size[0]):
        height, width = entry.mask.size
        reason = f"a mask of {width}x{height} on an image of {image.size[0]}x{image.size[1]}"
        return RawProblem(entry.line, BAD_MASK, reason, entry.text, entry.identity)
    entry.class_token = name
    return entry
