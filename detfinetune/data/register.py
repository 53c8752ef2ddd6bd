"""Data sets in Detectron2's catalog, with one class list by name for every split."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import load_coco_json

from detfinetune.errors import DataError, did_you_mean
from detfinetune.labels.dataset.records import DatasetManifest, DatasetSplit
from detfinetune.labels.dataset.statistics import DatasetStatistics


def register_split(manifest: DatasetManifest, split: str) -> str:
    """Register a split and return its name in `DatasetCatalog`.

    Detectron2 maps category ids for each JSON file by itself, so a validation file with other
    ids would shift every class; here all splits share the manifest's class list, by name.
    Registering again replaces what an earlier call left under the name.

    Raises:
        DataError: the manifest has no such split.
    """
    if split not in manifest.splits:
        raise DataError(
            f"'{manifest.name}' has no split '{split}'.{did_you_mean(split, manifest.splits)} "
            f"It has: {', '.join(manifest.splits)}."
        )
    entry = manifest.splits[split]
    name = f"{manifest.name}_{split}_{manifest.fingerprint[:12]}"
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    ids = contiguous_ids(entry, manifest.classes)
    DatasetCatalog.register(name, partial(_load_split, entry, ids))
    MetadataCatalog.get(name).set(
        json_file=str(entry.json_file),
        image_root=str(entry.image_root),
        evaluator_type="coco",
        thing_classes=list(manifest.classes),
        thing_dataset_id_to_contiguous_id=ids,
    )
    return name


def contiguous_ids(entry: DatasetSplit, classes: tuple[str, ...]) -> dict[int, int]:
    """Map the split's category ids to positions in `classes`, by name.

    A class that the split's JSON does not list gets an id that the file does not use, because
    `COCOEvaluator` wants an id for every class.

    Raises:
        DataError: the JSON lists a category that is not among `classes`.
    """
    with entry.json_file.open(encoding="utf-8") as stream:
        categories = json.load(stream)["categories"]
    position = {name: index for index, name in enumerate(classes)}
    ids: dict[int, int] = {}
    for category in categories:
        if category["name"] not in position:
            listed = ", ".join(item["name"] for item in categories)
            raise DataError(
                f"{entry.json_file}: category '{category['name']}' is not among the classes.\n"
                f"  classes:   {', '.join(classes)}\n  this file: {listed}"
            )
        ids[category["id"]] = position[category["name"]]
    unused = max(ids, default=0) + 1
    for index in sorted(set(range(len(classes))) - set(ids.values())):
        ids[unused] = index
        unused += 1
    return ids


def _load_split(entry: DatasetSplit, ids: dict[int, int]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = load_coco_json(str(entry.json_file), str(entry.image_root))
    for record in records:
        for annotation in record["annotations"]:
            annotation["category_id"] = ids[annotation["category_id"]]
    return records


def dataset_statistics(dataset_name: str) -> DatasetStatistics:
    """Measure a registered split."""
    records = DatasetCatalog.get(dataset_name)
    sides = sorted(min(record["width"], record["height"]) for record in records)
    sizes = sorted(
        (max(box[2], 0) * max(box[3], 0)) ** 0.5 / min(record["width"], record["height"])
        for record in records
        for box in (annotation["bbox"] for annotation in record["annotations"])
    )
    return DatasetStatistics(
        num_images=len(records),
        num_annotations=len(sizes),
        median_side=float(sides[len(sides) // 2]) if sides else 0.0,
        object_sizes=tuple(sizes),
        fullest_image=max((len(record["annotations"]) for record in records), default=0),
    )
