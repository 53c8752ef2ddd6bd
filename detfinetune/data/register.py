"""Register dataset splits in Detectron2's catalog, with the same class list for every split."""

from __future__ import annotations

from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from detfinetune.errors import DataError, did_you_mean
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.masks import encoded
from detfinetune.labels.dataset.table import LabelTable

_MIN_COORDINATES = 6


def register_split(dataset: LabelledDataset, split: str) -> str:
    """Register a split and return its name in `DatasetCatalog`.

    Contiguous ids are the same in every split. Registering a split again replaces it.

    Raises:
        DataError: the dataset has no such split.
    """
    table = split_table(dataset, split)
    name = f"{dataset.name}_{split}_{dataset.fingerprint[:12]}"
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, partial(_records, table))
    category_ids = table.category_ids(dataset.num_classes)
    MetadataCatalog.get(name).set(
        image_root=str(table.image_root.resolve()),
        evaluator_type="coco",
        thing_classes=list(dataset.classes),
        thing_dataset_id_to_contiguous_id={id_: at for at, id_ in enumerate(category_ids)},
    )
    return name


def split_table(dataset: LabelledDataset, split: str) -> LabelTable:
    """Return a split's table.

    Raises:
        DataError: the dataset has no such split.
    """
    if split not in dataset.tables:
        raise DataError(
            f"'{dataset.name}' has no split '{split}'.{did_you_mean(split, dataset.tables)} "
            f"It has: {', '.join(dataset.tables)}."
        )
    return dataset.tables[split]


def _records(table: LabelTable) -> list[dict[str, Any]]:
    """Return Detectron2 records by ascending image id, as from Detectron2's COCO loader."""
    root = table.image_root.resolve()
    image_ids, boxes, sizes = table.image_ids, table.boxes.tolist(), table.sizes.tolist()
    categories, crowd = table.categories.tolist(), table.crowd.tolist()
    starts = table.starts.tolist()

    def annotation(index: int) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "iscrowd": int(crowd[index]),
            "bbox": boxes[index],
            "category_id": categories[index],
            "bbox_mode": BoxMode.XYWH_ABS,
        }
        if (mask := table.masks.get(index)) is not None:
            entry["segmentation"] = encoded(mask)
        elif polygons := table.polygons.get(index):
            # Without a usable polygon, the box is still trained on.
            valid = [list(polygon) for polygon in polygons if len(polygon) >= _MIN_COORDINATES]
            entry |= {"segmentation": valid} if valid else {}
        return entry

    return [
        {
            "file_name": str(root / table.names[image]),
            "height": sizes[image][1],
            "width": sizes[image][0],
            "image_id": int(image_ids[image]),
            "annotations": [annotation(i) for i in range(starts[image], starts[image + 1])],
        }
        for image in image_ids.argsort(kind="stable").tolist()
    ]
