"""A split -> COCO JSON, complete, with ids that depend on nothing but the order.

Written piece by piece: a million annotations never stand in memory as text at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from pycocotools import mask as masks

from detfinetune import files
from detfinetune.labels.geometry import polygon_area
from detfinetune.labels.records import Polygon, RunLengths
from detfinetune.labels.table import LabelTable

_DIGITS = 3
_AT_ONCE = 10_000


def write_coco(
    path: Path, name: str, split: str, classes: Sequence[str], table: LabelTable
) -> None:
    """Write one split as COCO JSON, whole or not at all.

    Ids of images, annotations and categories count from 1. There is no time of day in `info`: the
    same labels give the same bytes.
    """
    head = {
        "info": {"description": f"{name}, {split}", "version": "1", "contributor": "detfinetune"},
        "licenses": [{"id": 0, "name": "unknown", "url": ""}],
    }
    categories = [
        {"id": index, "name": label, "supercategory": ""}
        for index, label in enumerate(classes, start=1)
    ]
    with files.atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "images": [')
        _write_items(stream, _images(table))
        stream.write('], "annotations": [')
        _write_items(stream, _annotations(table))
        stream.write(f'], "categories": {json.dumps(categories, ensure_ascii=False)}}}\n')


def _write_items(stream: IO[str], items: Iterator[str]) -> None:
    pending: list[str] = []
    first = True
    for item in items:
        pending.append(item)
        if len(pending) == _AT_ONCE:
            stream.write(("" if first else ", ") + ", ".join(pending))
            pending, first = [], False
    if pending:
        stream.write(("" if first else ", ") + ", ".join(pending))


def _images(table: LabelTable) -> Iterator[str]:
    for number, (name, (width, height)) in enumerate(
        zip(table.names, table.sizes.tolist(), strict=True), start=1
    ):
        yield (
            f'{{"id": {number}, "file_name": {json.dumps(name, ensure_ascii=False)}, '
            f'"width": {width}, "height": {height}, "license": 0}}'
        )


def _annotations(table: LabelTable) -> Iterator[str]:
    """Yield annotations as JSON; plain boxes, of which there may be a million, by hand."""
    areas = np.round(table.boxes[:, 2] * table.boxes[:, 3], _DIGITS).tolist()
    boxes = table.boxes.tolist()
    columns = zip(
        (table.image_of + 1).tolist(), (table.categories + 1).tolist(), boxes, areas,
        table.crowd.astype(int).tolist(), strict=True,
    )  # fmt: skip
    shaped = table.polygons.keys() | table.masks.keys() | table.areas.keys()
    for index, (image, category, box, area, crowd) in enumerate(columns):
        if index not in shaped:
            yield (
                f'{{"id": {index + 1}, "image_id": {image}, "category_id": {category}, "bbox": '
                f'{box}, "area": {area}, "iscrowd": {crowd}, "segmentation": []}}'
            )
            continue
        polygons, mask = table.polygons.get(index, ()), table.masks.get(index)
        if index in table.areas:
            area = table.areas[index]
        elif polygons or mask:
            area = mask_area(polygons, mask)
        yield (
            f'{{"id": {index + 1}, "image_id": {image}, "category_id": {category}, "bbox": {box}, '
            f'"area": {area}, "iscrowd": {crowd}, '
            f'"segmentation": {json.dumps(_segmentation(polygons, mask))}}}'
        )


def mask_area(polygons: Sequence[Polygon], mask: RunLengths | None) -> float:
    """Return the area of outlines or a mask in square pixels."""
    if mask is not None:
        return float(masks.area(encoded(mask)))
    return round(sum(polygon_area(polygon) for polygon in polygons), _DIGITS)


def encoded(mask: RunLengths) -> dict[str, Any]:
    """Return a mask as pycocotools takes it."""
    if isinstance(mask.counts, str):
        return {"size": list(mask.size), "counts": mask.counts}
    rle: dict[str, Any] = masks.frPyObjects(
        {"size": list(mask.size), "counts": list(mask.counts)}, *mask.size
    )
    return rle


def _segmentation(polygons: Sequence[Polygon], mask: RunLengths | None) -> Any:
    if mask is not None:
        counts = mask.counts if isinstance(mask.counts, str) else list(mask.counts)
        return {"size": list(mask.size), "counts": counts}
    return [list(polygon) for polygon in polygons]
