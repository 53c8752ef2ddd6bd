"""Splits that do not belong together, or are too small to measure with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.class_names import listed
from detfinetune.checks.findings import Finding, Place
from detfinetune.checks.places import (
    MOST_PLACES,
    counted,
    image_place,
    object_place,
)
from detfinetune.checks.samples import ap_half_width
from detfinetune.checks.split_differences import compare_splits
from detfinetune.labels.dataset.table import LabelTable

FEWEST_OBJECTS = 100
"""Objects below which AP is uncertain by more than ten points, even if all were independent."""

FEWEST_IMAGES = 20
"""Images below which a split says more about these images than about the task."""

_FEWEST_OF_A_CLASS = 15


def check_splits(tables: Mapping[str, LabelTable], classes: Sequence[str]) -> list[Finding]:
    """Return every finding about splits by themselves and against `train`.

    Args:
        tables: by split: train, val, test (those that there are).
        classes: names by contiguous class id.
    """
    found = [
        *_missing_splits(tables),
        _classes_not_in_training(tables, classes),
        _classes_not_measured(tables, classes),
        *(_too_small(split, table) for split, table in tables.items()),
        *(_hard_to_measure(split, table, classes) for split, table in tables.items()),
        *(_unlabelled(split, table) for split, table in tables.items()),
    ]
    if "train" in tables:
        for split in [split for split in tables if split != "train"]:
            found += compare_splits(tables["train"], split, tables[split], classes)
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
                "Nothing can be learned so: check data.root, data.splits and data.labels.",
                (Place("train", detail="no objects"),),
            )
        )
    if "val" not in tables:
        found.append(
            Finding(
                "no_val_split",
                "warning",
                "There is no validation split.",
                "Hold images out: data.val_fraction=0.15. Without them the best checkpoint cannot "
                "be chosen, and overfitting is not seen.",
            )
        )
    for split in tables:
        if split != "train" and not (~tables[split].crowd).any():
            found.append(
                Finding(
                    "split_without_objects",
                    "error" if split == "val" else "warning",
                    f"Split {split} has no object.",
                    "AP cannot be measured on it: label its images, or take others "
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
    lost = [
        index
        for index in np.flatnonzero(counts["train"] == 0).tolist()
        if any(count[index] for count in others.values())
    ]
    if not lost:
        return None
    places = (
        object_place(split, tables[split], row, f"{classes[tables[split].categories[row]]}")
        for split in others
        for row in np.flatnonzero(np.isin(tables[split].categories, lost)).tolist()
    )
    names = [classes[index] for index in lost]
    return Finding(
        "class_missing_from_train",
        "error",
        f"{counted(len(lost), 'class is', 'classes are')} in other splits but not in the training "
        f"split: {listed(names)}.",
        "Split again so that every class is in training, or leave the class out: it cannot be "
        "learned, and its AP of 0 counts in the mean.",
        tuple(islice(places, MOST_PLACES)),
        {
            "objects": {
                classes[index]: {split: int(count[index]) for split, count in counts.items()}
                for index in lost
            }
        },
    )


def _classes_not_measured(
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
        "class_not_measured",
        "warning",
        "Classes of the training split are missing elsewhere: "
        + "; ".join(f"from {split} {listed(names)}" for split, names in lost.items())
        + ".",
        "Split again by class, so that each is in every split; else nobody can say whether these "
        "classes are found.",
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
        f"Split {split} has {counted(objects, 'object')} on {counted(images, 'image')}: an AP "
        f"near 50 is known to within ±{low:.0f} points at best, ±{high:.0f} at worst.",
        "Hold out more images before comparing runs by it. Best case: objects are found "
        "independently of each other; worst case: those of one image all together or not at all.",
        (Place(split, detail=f"{counted(objects, 'object')}, {counted(images, 'image')}"),),
        {
            "objects": objects, "images": images, "half_width_best": round(low, 1),
            "half_width_worst": round(high, 1),
        },
    )  # fmt: skip


def _hard_to_measure(split: str, table: LabelTable, classes: Sequence[str]) -> Finding | None:
    if split == "train":
        return None
    counts = np.bincount(table.categories[~table.crowd], minlength=len(classes))
    few = np.flatnonzero((counts > 0) & (counts < _FEWEST_OF_A_CLASS)).tolist()
    if not few:
        return None
    figures = {classes[index]: int(counts[index]) for index in few}
    return Finding(
        "split_class_hard_to_measure",
        "note",
        f"Split {split} has fewer than {_FEWEST_OF_A_CLASS} objects of "
        f"{counted(len(few), 'class', 'classes')}: "
        f"{listed([f'{name} ({count})' for name, count in figures.items()])}.",
        f"The AP of such a class is known to within ±{ap_half_width(_FEWEST_OF_A_CLASS):.0f} "
        "points at best; look at the mean over classes instead.",
        tuple(Place(split, detail=f"{n} of {name}") for name, n in figures.items()),
        {"objects": figures},
    )


def _unlabelled(split: str, table: LabelTable) -> Finding | None:
    """Find splits most of whose images have no label file, or no object."""
    empty = np.diff(table.starts) == 0
    missing = empty & np.array([not path for path in table.label_files], dtype=bool)
    if missing.sum() * 2 > table.num_images:
        indices = np.flatnonzero(missing)
        return Finding(
            "split_mostly_unlabelled",
            "warning",
            f"{len(indices):,} of {table.num_images:,} images of split {split} have no label file "
            "and count as images without objects.",
            "If they are only not labelled yet, list the labelled ones in a text file: "
            "data.image_list=FILE. Taken as negatives, they teach the detector to find nothing.",
            tuple(
                image_place(split, table, image, "no label file")
                for image in indices[:MOST_PLACES].tolist()
            ),
            {"unlabelled": len(indices), "images": table.num_images},
        )
    if empty.sum() * 2 > table.num_images and not empty.all():
        indices = np.flatnonzero(empty)
        return Finding(
            "split_mostly_negatives",
            "note",
            f"{len(indices):,} of {table.num_images:,} images of split {split} have no object.",
            "Right if that is how often there is none; else list the images that were labelled: "
            "data.image_list=FILE.",
            tuple(
                image_place(split, table, image, "no object")
                for image in indices[:MOST_PLACES].tolist()
            ),
            {"negatives": len(indices), "images": table.num_images},
        )
    return None


def _counts(
    tables: Mapping[str, LabelTable], classes: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    return {
        split: np.bincount(table.categories[~table.crowd], minlength=len(classes))
        for split, table in tables.items()
    }
