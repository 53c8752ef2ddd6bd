"""A split's ground truth in COCO format.

These are the labels that training uses, with fixes and without rejected labels (ledger.csv lists
both). Ids are those of the label file, if any, so that detections can also be scored against the
user's own COCO JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detfinetune.data.register import register_split, split_table
from detfinetune.labels.dataset.coco_json import coco_content
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset


@dataclass(frozen=True)
class GroundTruth:
    """A registered split's labels."""

    name: str
    """In Detectron2's `DatasetCatalog`."""

    content: dict[str, Any]
    """COCO images, annotations, and categories of all classes."""

    image_root: Path

    @property
    def classes(self) -> list[str]:
        """Class names in the order of contiguous ids."""
        return [category["name"] for category in self.content["categories"]]


def ground_truth(dataset: LabelledDataset, split: str) -> GroundTruth:
    """Register a split and return its ground truth.

    Raises:
        DataError: the dataset has no such split.
    """
    table = split_table(dataset, split)
    content = coco_content(dataset.classes, table)
    for annotation in content["annotations"]:
        if annotation["iscrowd"] and not annotation["segmentation"]:
            # Masks in the box of a crowd region are ignored, as boxes are.
            x, y, w, h = annotation["bbox"]
            annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return GroundTruth(register_split(dataset, split), content, table.image_root)
