"""What detections are scored against: a split's labels as they were read, in COCO's form.

The same labels that training sees: fixed ones as fixed, rejected ones left out (ledger.csv lists
both). Ids are those of the label file where it has any, so that detections can be scored against
the user's own COCO JSON as well.
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
    """COCO's images, annotations and categories; every class of the data is listed."""

    image_root: Path

    @property
    def classes(self) -> list[str]:
        """Class names in the order of contiguous ids."""
        return [category["name"] for category in self.content["categories"]]


def ground_truth(dataset: LabelledDataset, split: str) -> GroundTruth:
    """Register a split and return what its detections are scored against.

    Raises:
        DataError: the dataset has no such split.
    """
    table = split_table(dataset, split)
    content = coco_content(dataset.classes, table)
    return GroundTruth(register_split(dataset, split), content, table.image_root)
