"""Collects what is found in images as COCO results and as a COCO data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detfinetune.prediction import Prediction


class CocoRecord:
    """Images and results in COCO format.

    Attributes:
        images: as in a COCO data set, with ids from 1.
        results: COCO results with file names.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        """Begin with class names by class id; category ids are class ids + 1."""
        self.images: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self._categories = [{"id": at + 1, "name": name} for at, name in enumerate(classes)]

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an image and its detections, as `coco_entry` returns them."""
        image_id = len(self.images) + 1
        shared = {"image_id": image_id, "file_name": entry["file_name"]}
        size = {key: entry[key] for key in ("file_name", "width", "height")}
        self.images.append({"id": image_id, **size})
        self.results += [{**shared, **result} for result in entry["results"]]

    def dataset(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Return a COCO data set, whose annotations have scores."""
        annotations = [
            {
                "id": number,
                **{key: value for key, value in result.items() if key != "file_name"},
                "area": result["bbox"][2] * result["bbox"][3],
                "iscrowd": 0,
            }
            for number, result in enumerate(self.results, start=1)
        ]
        return {
            "info": dict(info),
            "licenses": [],
            "images": self.images,
            "annotations": annotations,
            "categories": self._categories,
        }


def coco_entry(name: str, found: Prediction) -> dict[str, Any]:
    """Return an image's size and its detections as JSON values."""
    results = found.to_coco()
    for result in results:
        del result["image_id"]
        result["bbox"] = [round(value, 2) for value in result["bbox"]]
    return {"file_name": name, "width": found.width, "height": found.height, "results": results}
