"""A split -> COCO JSON, complete, with ids that depend on nothing but the order.

Written piece by piece: a million annotations never stand in memory as text at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
from pycocotools import mask as masks

from detfinetune import files
from detfinetune.labels.dataset.masks import encoded
from detfinetune.labels.dataset.records import Polygon, RleMask
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.parsing.box_rules import polygon_area

_DIGITS = 3
_AT_ONCE = 10_000
_PLAIN = (
    b'{"id":%d,"image_id":%d,"category_id":%d,"bbox":[%b],"area":%b,"iscrowd":%d,"segmentation":[]}'
)


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
    with files.atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(_text(head)[:-1] + b',\n"images": [\n')
        _write_items(stream, _images(table))
        stream.write(b'\n],\n"annotations": [\n')
        _write_annotations(stream, table)
        stream.write(b'\n],\n"categories": ' + _text(categories) + b"}\n")


def _text(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        # A file name that is no valid text; json writes it as escapes.
        return json.dumps(value).encode()


def _write_items(stream: IO[bytes], items: Iterator[Any]) -> None:
    """Write items a line each, so that a line number says which."""
    separator = b""
    while some := list(islice(items, _AT_ONCE)):
        stream.write(separator + b",\n".join(map(_text, some)))
        separator = b",\n"


def _images(table: LabelTable) -> Iterator[dict[str, Any]]:
    sizes = zip(table.names, table.sizes.tolist(), strict=True)
    return (
        {"id": number, "file_name": name, "width": width, "height": height, "license": 0}
        for number, (name, (width, height)) in enumerate(sizes, start=1)
    )


def _write_annotations(stream: IO[bytes], table: LabelTable) -> None:
    """Write annotations a line each; boxes alone, of which there may be a million, by the chunk."""
    shaped = np.zeros(table.num_objects, dtype=bool)
    rare = table.polygons.keys() | table.masks.keys() | table.areas.keys()
    shaped[list(rare)] = True
    separator = b""
    for start in range(0, table.num_objects, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, table.num_objects))
        if shaped[part].any():
            lines: Iterable[bytes] = map(_text, _annotations(table, part))
        else:
            lines = _plain_annotations(table, part)
        stream.write(separator + b",\n".join(lines))
        separator = b",\n"


def _columns(table: LabelTable, part: slice) -> tuple[list[int], ...]:
    """Return ids of annotations, images and categories, and the crowd flags."""
    return (
        list(range(part.start + 1, part.stop + 1)),
        (table.image_of[part] + 1).tolist(),
        (table.categories[part] + 1).tolist(),
        table.crowd[part].astype(int).tolist(),
    )


def _plain_annotations(table: LabelTable, part: slice) -> Iterator[bytes]:
    """Return annotations without outlines as JSON, their numbers written by orjson all at once."""
    boxes = np.ascontiguousarray(table.boxes[part])
    areas = np.round(boxes[:, 2] * boxes[:, 3], _DIGITS)
    ids, images, categories, crowd = _columns(table, part)
    rows = zip(
        ids, images, categories,
        orjson.dumps(boxes, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],["),
        orjson.dumps(areas, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b","),
        crowd, strict=True,
    )  # fmt: skip
    return map(_PLAIN.__mod__, rows)


def _annotations(table: LabelTable, part: slice) -> Iterator[dict[str, Any]]:
    boxes = table.boxes[part].tolist()
    columns = zip(*_columns(table, part), boxes, strict=True)
    for identity, image, category, crowd, box in columns:
        index = identity - 1
        polygons, mask = table.polygons.get(index, ()), table.masks.get(index)
        area = table.areas.get(index)
        if area is None:
            outlined = polygons or mask
            area = mask_area(polygons, mask) if outlined else round(box[2] * box[3], _DIGITS)
        yield {
            "id": identity, "image_id": image, "category_id": category, "bbox": box, "area": area,
            "iscrowd": crowd, "segmentation": _segmentation(polygons, mask),
        }  # fmt: skip


def mask_area(polygons: Sequence[Polygon], mask: RleMask | None) -> float:
    """Return the area of outlines or a mask in square pixels."""
    if mask is not None:
        return float(masks.area(encoded(mask)))
    return round(sum(polygon_area(polygon) for polygon in polygons), _DIGITS)


def _segmentation(polygons: Sequence[Polygon], mask: RleMask | None) -> Any:
    if mask is not None:
        counts = mask.counts if isinstance(mask.counts, str) else list(mask.counts)
        return {"size": list(mask.size), "counts": counts}
    return [list(polygon) for polygon in polygons]
