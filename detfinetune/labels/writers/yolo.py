"""YOLO: `class cx cy w h` or `class x y x y ...` a line, in normalized coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from detfinetune.labels.dataset.masks import encoded, polygon_area
from detfinetune.labels.dataset.records import Polygon
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.formats.raw_labels import bounding_box
from detfinetune.labels.parsing.box_rules import SMALLEST_PIXELS
from detfinetune.labels.writers import (
    BOX_MOVED_PIXELS,
    WrittenLabels,
    check_classes,
)
from detfinetune.labels.writers.files import (
    kept_objects,
    label_names,
    plain,
    rounded,
    write_classes,
    write_label_files,
)
from detfinetune.labels.writers.polygons import (
    FEWEST_VALUES,
    mask_iou,
    one_polygon,
    rasterised,
)
from detfinetune.labels.writers.txt import boxes_written

_DECIMALS = 9
"""So that in images of up to 500,000 pixels a side, coordinates with three decimals in pixels come
back as they were."""


def write_yolo(
    folder: Path, split: str, table: LabelTable, classes: Sequence[str]
) -> WrittenLabels:
    """Write `labels/<split>/<image>.txt` below `folder`; images without objects get empty files.

    Where there are polygons or masks, polygons are written. YOLO has one ring an object: several
    polygons, and the holes of a mask, are joined to one (see `writers.polygons`), masks are traced
    along the edges of their pixels, and an object without a polygon is written as a box. The IoU of
    each polygon so changed with the original is measured.

    Args:
        folder: of the data set; the images are to lie in its `images/<split>`.
        split: name of the split's folders.
        table: the labels; every path in it is kept, with another ending.
        classes: class names; the position is the number written.

    Returns:
        What was written and what was lost; crowd regions always are.

    Raises:
        DataError: two images would share a file.
    """
    check_classes(table.categories.tolist(), classes)
    names = label_names(table, ".txt")
    target = folder / "labels" / split
    has_polygons = bool(table.polygons or table.masks)
    loss = _Loss()
    write_label_files(target, names, _texts(table, loss))
    written = boxes_written("yolo", split, table)
    if not has_polygons:
        return written
    return replace(
        written,
        format="yolo polygons",
        polygons_lost=0,
        boxes_only=loss.boxes_only,
        polygons_changed=len(loss.ious),
        iou_min=min(loss.ious, default=None),
        boxes_moved=loss.boxes_moved,
    )


def write_yolo_names(folder: Path, classes: Sequence[str], splits: Sequence[str]) -> None:
    """Write classes.txt and data.yaml, which names the folders of images and the classes.

    Args:
        folder: where they are written.
        classes: class names; the position is the number in the labels.
        splits: names of the splits' folders below `images`.
    """
    write_classes(folder, classes)
    content = {
        "path": "",  # data.yaml's own folder, for Ultralytics, so that the data set can be moved
        **{split: f"images/{split}" for split in splits},
        "nc": len(classes),
        "names": dict(enumerate(classes)),
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1 << 16)
    (folder / "data.yaml").write_text(text, encoding="utf-8", newline="\n")


class _Loss:
    """What writing polygons has cost so far."""

    def __init__(self) -> None:
        self.boxes_only = 0
        self.boxes_moved = 0
        self.ious: list[float] = []


def _box_lines(table: LabelTable) -> list[str]:
    """Return each object's line, as a box."""
    normalized = table.boxes.copy()
    normalized[:, :2] += normalized[:, 2:] / 2
    normalized /= table.sizes[table.image_of][:, [0, 1, 0, 1]]
    rows = rounded(normalized, _DECIMALS).tolist()
    return [
        f"{category} {plain(x)} {plain(y)} {plain(w)} {plain(h)}\n"
        for category, (x, y, w, h) in zip(table.categories.tolist(), rows, strict=True)
    ]


def _texts(table: LabelTable, loss: _Loss) -> Iterator[str]:
    """Yield the text of each image's label file, with polygons where there are any."""
    boxes = _box_lines(table)
    for image, objects in enumerate(kept_objects(table)):
        lines = []
        for index in objects:
            numbers = _polygon(table, index, table.sizes[image], loss)
            loss.boxes_only += not numbers
            lines.append(f"{table.categories[index]} {numbers}\n" if numbers else boxes[index])
        yield "".join(lines)


def _polygon(table: LabelTable, index: int, size: NDArray[np.int64], loss: _Loss) -> str:
    """Return an object's polygon as written; empty where it has none with an area."""
    polygons = [p for p in table.polygons.get(index, ()) if len(p) >= FEWEST_VALUES]
    mask = table.masks.get(index)
    if not polygons and mask is None:
        return ""
    width, height = size.tolist()
    changed = len(polygons) != 1
    polygon = one_polygon(polygons, mask, width, height) if changed else polygons[0]
    normalized = rounded(np.reshape(polygon, (-1, 2)) / size, _DECIMALS)
    # As reading it gives it, to a thousandth of a pixel (`labels.parsing`).
    written: Polygon = tuple(rounded(normalized * size, 3).ravel().tolist())
    if polygon_area(written) < SMALLEST_PIXELS:
        return ""
    if changed:
        before = (
            encoded(mask)
            if mask is not None and not polygons
            else rasterised(polygons, width, height)
        )
        loss.ious.append(mask_iou(before, rasterised([written], width, height)))
    x, y, w, h = table.boxes[index].tolist()
    sides = zip(bounding_box((written,)), (x, y, x + w, y + h), strict=True)
    loss.boxes_moved += any(abs(new - old) > BOX_MOVED_PIXELS for new, old in sides)
    return " ".join(map(plain, normalized.ravel().tolist()))
