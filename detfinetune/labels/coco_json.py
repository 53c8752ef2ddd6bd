"""Image records -> COCO JSON, complete, with ids that depend on nothing but the order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detfinetune import files
from detfinetune.labels.geometry import polygon_area
from detfinetune.labels.records import ImageRecord

_DIGITS = 3


def coco_dict(
    name: str, split: str, classes: Sequence[str], records: Sequence[ImageRecord]
) -> dict[str, Any]:
    """Return a COCO data set; ids of images, annotations and categories count from 1.

    There is no time of day in `info`: the same labels give the same bytes.
    """
    images = []
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(records, start=1):
        images.append(
            {
                "id": image_id,
                "file_name": record.file_name,
                "width": record.width,
                "height": record.height,
                "license": 0,
            }
        )
        for annotation in record.annotations:
            area = (
                sum(polygon_area(polygon) for polygon in annotation.polygons)
                if annotation.polygons
                else annotation.bbox[2] * annotation.bbox[3]
            )
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": annotation.category + 1,
                    "bbox": list(annotation.bbox),
                    "area": round(area, _DIGITS),
                    "iscrowd": 0,
                    "segmentation": [list(polygon) for polygon in annotation.polygons],
                }
            )
    return {
        "info": {"description": f"{name}, {split}", "version": "1", "contributor": "detfinetune"},
        "licenses": [{"id": 0, "name": "unknown", "url": ""}],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": index, "name": label, "supercategory": ""}
            for index, label in enumerate(classes, start=1)
        ],
    }


def write_coco(
    path: Path, name: str, split: str, classes: Sequence[str], records: Sequence[ImageRecord]
) -> None:
    """Write one split as COCO JSON, whole or not at all."""
    files.write_json(path, coco_dict(name, split, classes, records), indent=None)
