"""A split as COCO JSON: with the label file's own ids, or numbers from 1 where it has none.

Written piece by piece: a million annotations never stand in memory as text at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from pycocotools import mask as mask_api

from detfinetune import files
from detfinetune.labels.dataset.masks import encoded, polygon_area
from detfinetune.labels.dataset.records import Polygon, RleMask
from detfinetune.labels.dataset.table import LabelTable

_DIGITS = 3


def write_coco(
    path: Path, name: str, split: str, classes: Sequence[str], table: LabelTable
) -> None:
    """Write one split as COCO JSON, whole or not at all; the same labels give the same bytes."""
    with files.atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.writelines(_pieces(name, split, classes, table))


def coco_content(classes: Sequence[str], table: LabelTable) -> dict[str, Any]:
    """Return a split as a COCO dict: what detections are scored against."""
    return {
        "images": list(_images(table)),
        "annotations": list(_annotations(classes, table)),
        "categories": _categories(classes, table),
    }


def coco_fingerprint(name: str, classes: Sequence[str], tables: Mapping[str, LabelTable]) -> str:
    """Return one hash of all splits as COCO JSON; it changes whenever a label or an id does."""
    digest = hashlib.sha256()
    for split, table in sorted(tables.items()):
        content = hashlib.sha256()
        for piece in _pieces(name, split, classes, table):
            content.update(piece)
        digest.update(f"{split} {content.hexdigest()}\n".encode())
    return digest.hexdigest()


def label_hashes(classes: Sequence[str], table: LabelTable) -> list[str]:
    """Return a hash of each image's labels, which their ids and order do not change."""
    by_image: list[list[bytes]] = [[] for _ in table.names]
    annotations = _annotations(classes, table)
    for image, category, annotation in zip(
        table.image_of.tolist(), table.categories.tolist(), annotations, strict=True
    ):
        content = {key: annotation[key] for key in ("bbox", "area", "iscrowd", "segmentation")}
        by_image[image].append(_text({"class": classes[category], **content}))
    return [
        hashlib.blake2b(b"\n".join(sorted(labels)), digest_size=16).hexdigest()
        for labels in by_image
    ]


def _pieces(name: str, split: str, classes: Sequence[str], table: LabelTable) -> Iterator[bytes]:
    """Yield the file's text, one image or annotation a line, so that a line number says which."""
    # There is no time of day in `info`, so that unchanged labels give an unchanged file.
    head = {
        "info": {"description": f"{name}, {split}", "version": "1", "contributor": "detfinetune"},
        "licenses": [{"id": 0, "name": "unknown", "url": ""}],
    }
    yield _text(head)[:-1] + b',\n"images": [\n'
    yield from _lines(_images(table))
    yield b'\n],\n"annotations": [\n'
    yield from _lines(_annotations(classes, table))
    yield b'\n],\n"categories": ' + _text(_categories(classes, table)) + b"}\n"


def _lines(items: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    separator = b""
    for item in items:
        yield separator + _text(item)
        separator = b",\n"


def _text(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # A file name that is not valid text; json writes it as escapes.
        return json.dumps(value).encode()


def _images(table: LabelTable) -> Iterator[dict[str, Any]]:
    columns = zip(table.image_ids.tolist(), table.names, table.sizes.tolist(), strict=True)
    return (
        {"id": number, "file_name": name, "width": width, "height": height, "license": 0}
        for number, name, (width, height) in columns
    )


def _categories(classes: Sequence[str], table: LabelTable) -> list[dict[str, Any]]:
    return [
        {"id": number, "name": label, "supercategory": ""}
        for number, label in zip(table.category_ids(len(classes)), classes, strict=True)
    ]


def _annotations(classes: Sequence[str], table: LabelTable) -> Iterator[dict[str, Any]]:
    category_ids = np.array(table.category_ids(len(classes)), dtype=np.int64)
    columns = zip(
        table.annotation_ids.tolist(),
        table.image_ids[table.image_of].tolist(),
        category_ids[table.categories].tolist(),
        table.boxes.tolist(),
        np.round(table.boxes[:, 2] * table.boxes[:, 3], _DIGITS).tolist(),
        table.crowd.astype(int).tolist(),
        strict=True,
    )
    for index, (identity, image, category, box, box_area, crowd) in enumerate(columns):
        polygons, mask = table.polygons.get(index, ()), table.masks.get(index)
        area = table.areas.get(index)
        if area is None:
            area = mask_area(polygons, mask) if polygons or mask else box_area
        yield {
            "id": identity, "image_id": image, "category_id": category, "bbox": box, "area": area,
            "iscrowd": crowd, "segmentation": _segmentation(polygons, mask),
        }  # fmt: skip


def mask_area(polygons: Sequence[Polygon], mask: RleMask | None) -> float:
    """Return the area of polygons or a mask in square pixels."""
    if mask is not None:
        return float(mask_api.area(encoded(mask)))
    return round(sum(polygon_area(polygon) for polygon in polygons), _DIGITS)


def _segmentation(polygons: Sequence[Polygon], mask: RleMask | None) -> Any:
    if mask is not None:
        counts = mask.counts if isinstance(mask.counts, str) else list(mask.counts)
        return {"size": list(mask.size), "counts": counts}
    return [list(polygon) for polygon in polygons]
