"""Cuts data that comes in one piece, or without validation images, into splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detfinetune.config.schema import DataConfig
from detfinetune.labels.split import assign_splits


@dataclass(frozen=True)
class Cut:
    """Which images of a split on disk go where."""

    images: dict[str, list[int]]
    """Indices of images by split, ascending."""

    notes: list[str] = field(default_factory=list)


def cut_split(
    data: DataConfig, names: Sequence[str], class_counts: NDArray[np.int64], *, whole: bool
) -> Cut:
    """Divide images by the configuration's shares.

    Args:
        data: shares, seed and how to divide.
        names: image paths, in sorted order.
        class_counts: objects of each class in each image; (images, classes).
        whole: the data comes in one piece; else only validation images are taken from train.
    """
    fractions = {"val": data.val_fraction}
    if whole:
        fractions["test"] = data.test_fraction
    images = assign_splits(class_counts, fractions=fractions, groups=None, seed=data.split_seed)
    counts = ", ".join(f"{len(part)} {split}" for split, part in images.items())
    cut = (
        "images were split at random, balanced by class"
        if whole
        else "no validation images were there; they were taken from the training images at "
        "random, balanced by class"
    )
    return Cut(images, [f"{cut} (seed {data.split_seed}: {counts})"])
