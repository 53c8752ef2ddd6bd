"""Plain txt: `class x1 y1 x2 y2` a line, in pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.writers import CROWD, WrittenLabels, check_classes
from detfinetune.labels.writers.files import (
    kept_objects,
    label_names,
    pixel_corners,
    write_classes,
    write_label_files,
)


def write_txt(folder: Path, split: str, table: LabelTable, classes: Sequence[str]) -> WrittenLabels:
    """Write `labels/<split>/<image>.txt` and classes.txt below `folder`.

    Classes are numbers from 0. Coordinates are distances from the image's top left corner in
    pixels, exact to a millionth. An image without objects gets an empty file. Polygons and crowd
    regions cannot be written in this format; both are counted.

    Raises:
        DataError: two images would share a file.
    """
    check_classes(table.categories.tolist(), classes)
    xyxy = pixel_corners(table.boxes)
    categories = table.categories.tolist()
    kept = kept_objects(table)
    texts = ("".join(f"{categories[i]} {' '.join(xyxy[i])}\n" for i in objects) for objects in kept)
    write_label_files(folder / "labels" / split, label_names(table, ".txt"), texts)
    write_classes(folder, classes)
    return boxes_written("txt", split, table)


def boxes_written(name: str, split: str, table: LabelTable) -> WrittenLabels:
    """Return what becomes of a table in a format that has neither polygons nor crowds."""
    crowds = int(table.crowd.sum())
    with_polygons = table.polygons.keys() | table.masks.keys()
    return WrittenLabels(
        format=name,
        split=split,
        files=table.num_images,
        objects=table.num_objects - crowds,
        left_out=Counter({CROWD: crowds} if crowds else {}),
        polygons_lost=sum(not table.crowd[i] for i in with_polygons),
    )
