"""YOLO: `class cx cy w h` or `class x y x y ...` a line, as shares of the image's size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from detfinetune.labels.formats.objects import hull
from detfinetune.labels.geometry import SMALLEST_PIXELS, polygon_area
from detfinetune.labels.records import Polygon
from detfinetune.labels.table import LabelTable
from detfinetune.labels.writers import (
    BOX_MOVED_PIXELS,
    CROWD,
    NEARLY_EQUAL,
    WrittenLabels,
    check_classes,
)
from detfinetune.labels.writers.files import (
    kept_objects,
    label_names,
    plain_number,
    write_classes,
    write_label_files,
)
from detfinetune.labels.writers.outlines import (
    FEWEST_VALUES,
    mask_iou,
    one_outline,
    rasterised,
    run_lengths,
)
from detfinetune.labels.writers.txt import boxes_written

_LARGEST_ERROR = 0.0004
"""Pixels by which an edge may be off when read back: less than half of a thousandth, so that
coordinates with three decimals come back as they were."""


def write_yolo(
    folder: Path, split: str, table: LabelTable, classes: Sequence[str], *, outlines: bool
) -> WrittenLabels:
    """Write `labels/<split>/<image>.txt` below `folder`; images without objects get empty files.

    Numbers have as many decimals as it takes for an edge to come back within 0.0004 pixels, seven
    for most images, and no zeros at their end.

    Args:
        folder: of the data set; the images are to lie in its `images/<split>`.
        split: name of the split's folders.
        table: the labels; every path in it is kept, with another ending.
        classes: class names; the position is the number written.
        outlines: whether to write outlines. YOLO has one ring an object: several outlines, and
            the holes of a mask, are joined to one (see `writers.outlines`), masks are traced along
            the edges of their pixels, and what has no outline is written as a box. The IoU of
            each outline so changed with what it was is measured. Without `outlines`, only boxes
            are written.

    Returns:
        What was written and what was lost; crowd regions always are.

    Raises:
        DataError: two images would share a file.
    """
    check_classes(table.categories.tolist(), classes)
    names = label_names(table, ".txt")
    target = folder / "labels" / split
    if not outlines:
        write_label_files(target, names, _box_texts(table))
        return boxes_written("yolo", split, table)
    loss = _Loss()
    write_label_files(target, names, _outline_texts(table, loss))
    crowds = int(table.crowd.sum())
    ious = loss.ious
    return WrittenLabels(
        format="yolo outlines",
        split=split,
        files=table.num_images,
        objects=table.num_objects - crowds,
        left_out=Counter({CROWD: crowds} if crowds else {}),
        boxes_only=loss.boxes_only,
        outlines_changed=len(ious),
        iou_min=min(ious, default=None),
        iou_mean=sum(ious) / len(ious) if ious else None,
        iou_below=sum(iou < NEARLY_EQUAL for iou in ious),
        boxes_moved=loss.boxes_moved,
    )


def write_yolo_names(
    folder: Path, classes: Sequence[str], splits: Sequence[str], *, path: Path | None = None
) -> None:
    """Write classes.txt and data.yaml, which names the folders of images and the classes.

    Args:
        folder: where they are written.
        classes: class names; the position is the number in the labels.
        splits: names of the splits' folders below `images`.
        path: where the data set will lie, for `path` in data.yaml. None: `path` is left empty,
            which Ultralytics takes as data.yaml's own folder, so that the data set can be moved.
    """
    write_classes(folder, classes)
    content = {
        "path": str(path.absolute()) if path is not None else "",
        **{split: f"images/{split}" for split in splits},
        "nc": len(classes),
        "names": dict(enumerate(classes)),
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1 << 16)
    (folder / "data.yaml").write_text(text, encoding="utf-8", newline="\n")


def decimals(width: int, height: int) -> int:
    """Return the decimals of a share that keep an edge within 0.0004 pixels.

    A share is off by half of its last decimal; an edge is a centre and half a size.
    """
    return max(1, math.ceil(math.log10(0.75 * max(width, height) / _LARGEST_ERROR)))


class _Loss:
    """What writing outlines has cost so far."""

    def __init__(self) -> None:
        self.boxes_only = 0
        self.boxes_moved = 0
        self.ious: list[float] = []


def _box_texts(table: LabelTable) -> Iterator[str]:
    """Yield the text of each image's label file, boxes only."""
    shares = table.boxes.copy()
    shares[:, :2] += shares[:, 2:] / 2
    shares /= table.sizes[table.image_of][:, [0, 1, 0, 1]]
    rows = shares.tolist()
    categories = table.categories.tolist()
    for (width, height), objects in zip(table.sizes.tolist(), kept_objects(table), strict=True):
        digits = decimals(width, height)
        yield "".join(f"{categories[i]} {_numbers(rows[i], digits)}\n" for i in objects)


def _outline_texts(table: LabelTable, loss: _Loss) -> Iterator[str]:
    """Yield the text of each image's label file, with outlines where there are any."""
    for (width, height), objects in zip(table.sizes.tolist(), kept_objects(table), strict=True):
        lines = []
        for index in objects:
            numbers = _outline(table, index, (width, height), loss)
            if not numbers:
                loss.boxes_only += 1
                x, y, w, h = table.boxes[index].tolist()
                shares = ((x + w / 2) / width, (y + h / 2) / height, w / width, h / height)
                numbers = _numbers(shares, decimals(width, height))
            lines.append(f"{table.categories[index]} {numbers}\n")
        yield "".join(lines)


def _outline(table: LabelTable, index: int, size: tuple[int, int], loss: _Loss) -> str:
    """Return an object's outline as written; empty where it has none with an area."""
    polygons = [p for p in table.polygons.get(index, ()) if len(p) >= FEWEST_VALUES]
    mask = table.masks.get(index)
    if not polygons and mask is None:
        return ""
    changed = len(polygons) != 1
    outline = one_outline(polygons, mask, *size) if changed else polygons[0]
    text = _numbers((v / size[i % 2] for i, v in enumerate(outline)), decimals(*size))
    written: Polygon = tuple(float(v) * size[i % 2] for i, v in enumerate(text.split()))
    if polygon_area(written) < SMALLEST_PIXELS:
        return ""
    if changed:
        before = (
            rasterised(polygons, *size) if polygons or mask is None else run_lengths(mask, *size)
        )
        loss.ious.append(mask_iou(before, rasterised([written], *size)))
    x, y, w, h = table.boxes[index].tolist()
    sides = zip(hull((written,)), (x, y, x + w, y + h), strict=True)
    loss.boxes_moved += any(abs(new - old) > BOX_MOVED_PIXELS for new, old in sides)
    return text


def _numbers(values: Iterator[float] | Sequence[float], digits: int) -> str:
    return " ".join([plain_number(value, digits) for value in values])
