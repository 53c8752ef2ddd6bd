"""The labels of an image as objects to draw."""

from __future__ import annotations

from collections.abc import Sequence

from detfinetune.labels.dataset.masks import decoded, mask_to_polygons
from detfinetune.labels.dataset.records import Annotation, ImageRecord
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.pictures import DrawnObject

# More names than this on one picture hide what they name.
_MOST_TAGS = 12


def drawn_objects(record: ImageRecord, classes: Sequence[str]) -> tuple[DrawnObject, ...]:
    """Return all objects of an image; names stand on them where there are few."""
    tags = len(classes) > 1 and len(record.annotations) <= _MOST_TAGS
    return tuple(
        drawn_object(annotation, _tag(annotation, classes) if tags else "")
        for annotation in record.annotations
    )


def drawn_object(annotation: Annotation, text: str = "") -> DrawnObject:
    """Return one object with its polygons, or those traced from its mask."""
    polygons = annotation.polygons
    if not polygons and annotation.mask is not None:
        polygons = mask_to_polygons(decoded(annotation.mask))
    return DrawnObject(annotation.bbox, text, annotation.category, polygons)


def annotation_at(table: LabelTable, index: int) -> Annotation:
    """Return one object of a table, without the others of its image."""
    left, top, width, height = table.boxes[index].tolist()
    return Annotation(
        category=int(table.categories[index]),
        bbox=(left, top, width, height),
        polygons=table.polygons.get(index, ()),
        mask=table.masks.get(index),
    )


def class_name(classes: Sequence[str], category: int | None) -> str:
    """Return a class's name, its number where there is none, or nothing for None."""
    if category is None:
        return ""
    return classes[category] if 0 <= category < len(classes) else str(category)


def _tag(annotation: Annotation, classes: Sequence[str]) -> str:
    # Names from file systems may hold halves of characters, which no font can draw.
    name = class_name(classes, annotation.category).encode("utf-8", "replace").decode()
    return f"{name} (crowd)" if annotation.crowd else name
