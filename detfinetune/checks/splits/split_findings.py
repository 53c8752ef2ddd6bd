"""Checks splits: missing, empty, too small, mostly unlabelled, or different from train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding, Place
from detfinetune.checks.objects.class_names import listed
from detfinetune.checks.places import (
    MOST_PLACES,
    counted,
    image_place,
    object_place,
)
from detfinetune.checks.splits.sample_statistics import ap_half_width
from detfinetune.checks.splits.split_differences import compare_splits
from detfinetune.labels.dataset.table import LabelTable

FEWEST_OBJECTS = 100
"""With fewer objects, AP is uncertain by more than ten points, even if all are independent."""

FEWEST_IMAGES = 20
"""With fewer images, metrics depend more on these images than on the task."""


def check_splits(tables: Mapping[str, LabelTable], classes: Sequence[str]) -> list[Finding]:
    """Return findings about each split, alone and compared with `train`.

    Args:
        tables: by split: train, val, test (those that exist).
        classes: names by contiguous class id.
    """
    found = [
        *_missing_splits(tables),
        _classes_not_in_training(tables, classes),
        _classes_not_evaluated(tables, classes),
        *(_too_small(split, table) for split, table in tables.items()),
        *(_unlabelled(split, table) for split, table in tables.items()),
    ]
    if "train" in tables:
        for split in [split for split in tables if split != "train"]:
            found += compare_splits(tables["train"], split, tables[split])
    return [finding for finding in found if finding is not None]


def _missing_splits(tables: Mapping[str, LabelTable]) -> list[Finding]:
    found = []
    if "train" not in tables or not (~tables["train"].crowd).any():
        found.append(
            Finding(
                "no_training_objects",
                "error",
                "There is no training split."
                if "train" not in tables
                else "The training split has no object.",
                "Training needs labelled objects: check data.root, data.splits and data.labels.",
                (Place("train", detail="no objects"),),
            )
        )
    if "val" not in tables:
        found.append(
            Finding(
                "no_val_split",
                "warning",
                "There is no validation split.",
                "Hold out images with data.val_fraction=0.15. Without validation, the best "
                "checkpoint cannot be chosen, and overfitting goes unnoticed.",
            )
        )
    for split in tables:
        if split != "train" and not (~tables[split].crowd).any():
            found.append(
                Finding(
                    "empty_split",
                    "error" if split == "val" else "warning",
                    f"Split {split} has no object.",
                    "AP cannot be measured on it: label its images, or use others "
                    f"(data.{split}_fraction).",
                    (Place(split, detail=counted(tables[split].num_images, "image")),),
                )
            )
    return found


def _classes_not_in_training(
    tables: Mapping[str, LabelTable], classes: Sequence[str]
) -> Finding | None:
    counts = _counts(tables, classes)
    if "train" not in counts or not counts["train"].any():
        return None
    others = {split: count for split, count in counts.items() if split != "train"}
    missing = [
        index
        for index in np.flatnonzero(counts["train"] == 0).tolist()
        if any(count[index] for count in others.values())
    ]
    if not missing:
        return None
    places = (
        object_place(split, tables[split], row, f"{classes[tables[split].categories[row]]}")
        for split in others
        for row in np.flatnonzero(np.isin(tables[split].categories, missing)).tolist()
    )
    names = [classes[index] for index in missing]
    return Finding(
        "class_missing_from_train",
        "error",
        f"{counted(len(missing), 'class is', 'classes are')} in other splits but not in the "
        f"training split: {listed(names)}.",
        "Split again so that training has every class, or remove the class: it cannot be learned, "
        "and its AP of 0 lowers the mean.",
        tuple(islice(places, MOST_PLACES)),
        {
            "objects": {
                classes[index]: {split: int(count[index]) for split, count in counts.items()}
                for index in missing
            }
        },
    )


def _classes_not_evaluated(
    tables: Mapping[str, LabelTable], classes: Sequence[str]
) -> Finding | None:
    counts = _counts(tables, classes)
    train = counts.get("train")
    if train is None:
        return None
    lost = {
        split: [classes[i] for i in np.flatnonzero((count == 0) & (train > 0)).tolist()]
        for split, count in counts.items()
        if split != "train" and count.any()
    }
    lost = {split: names for split, names in lost.items() if names}
    if not lost:
        return None
    return Finding(
        "class_not_evaluated",
        "warning",
        "Classes of the training split are missing elsewhere: "
        + "; ".join(f"from {split} {listed(names)}" for split, names in lost.items())
        + ".",
        "Split again so that every split has every class. Otherwise these classes cannot be "
        "evaluated.",
        tuple(
            Place(split, detail=f"no {name}", category=list(classes).index(name))
            for split, names in lost.items()
            for name in names
        ),
        {"classes": lost},
    )


def _too_small(split: str, table: LabelTable) -> Finding | None:
    solid = ~table.crowd
    objects, images = int(solid.sum()), len(np.unique(table.image_of[solid]))
    if split == "train" or not objects:
        return None
    if objects >= FEWEST_OBJECTS and images >= FEWEST_IMAGES:
        return None
    low, high = ap_half_width(objects), min(ap_half_width(images), 50.0)
    return Finding(
        "split_too_small",
        "warning",
        f"Split {split} has {counted(objects, 'object')} in {counted(images, 'image')}: an AP "
        f"near 50 is uncertain by ±{low:.0f} points at best, ±{high:.0f} at worst.",
        "Hold out more images before comparing runs. Best case: objects are detected independently "
        "of each other; worst case: all or none of the objects of an image.",
        (Place(split, detail=f"{counted(objects, 'object')}, {counted(images, 'image')}"),),
        {
            "objects": objects, "images": images, "half_width_best": round(low, 1),
            "half_width_worst": round(high, 1),
        },
    )  # fmt: skip


def _unlabelled(split: str, table: LabelTable) -> Finding | None:
    """Find splits in which most images have no label file."""
    empty = np.diff(table.starts) == 0
    missing = empty & np.array([not path for path in table.label_files], dtype=bool)
    if missing.sum() * 2 > table.num_images:
        indices = np.flatnonzero(missing)
        return Finding(
            "split_mostly_unlabelled",
            "warning",
            f"{len(indices):,} of {table.num_images:,} images of split {split} have no label file "
            "and count as negatives.",
            "If they are not labelled yet, list the labelled images in a text file: "
            "data.image_list=FILE. As negatives, they train the detector to find nothing.",
            tuple(
                image_place(split, table, image, "no label file")
                for image in indices[:MOST_PLACES].tolist()
            ),
            {"unlabelled": len(indices), "images": table.num_images},
        )
    return None


def _counts(
    tables: Mapping[str, LabelTable], classes: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    return {
        split: np.bincount(table.categories[~table.crowd], minlength=len(classes))
        for split, table in tables.items()
    }
