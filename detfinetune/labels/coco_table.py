"""COCO JSON that was checked before -> a table, for looking at what training will see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detfinetune.labels.dataset.records import DatasetSplit, RleMask
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.discovery.annotation_files import load_coco


def read_coco_table(split: DatasetSplit, classes: Sequence[str]) -> LabelTable:
    """Return the table of a split that `prepare_dataset` has found in order.

    Images are in order of their names. Objects carry no line: ids tell them apart in JSON.

    Raises:
        DataError: the file cannot be read.
    """
    content = load_coco(split.json_file)
    images = sorted(content["images"], key=lambda image: str(image["file_name"]))
    row = {image["id"]: number for number, image in enumerate(images)}
    position = {name: index for index, name in enumerate(classes)}
    ids = {category["id"]: position[category["name"]] for category in content["categories"]}
    annotations = sorted(content["annotations"], key=lambda item: row[item["image_id"]])
    image_of = np.array([row[item["image_id"]] for item in annotations], dtype=np.int64)
    shapes = {
        index: item["segmentation"]
        for index, item in enumerate(annotations)
        if item.get("segmentation")
    }
    return LabelTable(
        image_root=split.image_root,
        names=tuple(str(image["file_name"]) for image in images),
        label_files=("",) * len(images),
        sizes=np.array([(i["width"], i["height"]) for i in images], np.int64).reshape(-1, 2),
        starts=np.searchsorted(image_of, np.arange(len(images) + 1)).astype(np.int64),
        categories=np.array([ids[item["category_id"]] for item in annotations], dtype=np.int32),
        boxes=np.array([item["bbox"] for item in annotations], np.float64).reshape(-1, 4),
        lines=np.zeros(len(annotations), dtype=np.int32),
        crowd=np.array([bool(item.get("iscrowd")) for item in annotations], dtype=bool),
        polygons={
            index: tuple(tuple(map(float, polygon)) for polygon in shape)
            for index, shape in shapes.items()
            if isinstance(shape, list)
        },
        masks={
            index: RleMask(
                (shape["size"][0], shape["size"][1]),
                shape["counts"] if isinstance(shape["counts"], str) else tuple(shape["counts"]),
            )
            for index, shape in shapes.items()
            if isinstance(shape, dict)
        },
        areas={
            index: float(item["area"]) for index, item in enumerate(annotations) if "area" in item
        },
    )
