"""Divide data without splits, or without validation images, as the configuration says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError
from detfinetune.labels.dataset.records import SplitRow
from detfinetune.labels.splits.assign import assign_folds, assign_splits, fold_splits
from detfinetune.labels.splits.groups import (
    ImageGroups,
    group_names,
    groups_from_table,
    suggest_groups,
)
from detfinetune.labels.splits.split_file import (
    listed_splits,
    read_split_file,
    split_rows,
)


@dataclass(frozen=True)
class Division:
    """The split of each image of a split on disk."""

    images: dict[str, list[int]]
    """Indices of images by split, ascending."""

    notes: list[str] = field(default_factory=list)
    rows: list[SplitRow] = field(default_factory=list)
    """The rows of the split file; empty where the data came divided."""

    shares: dict[str, float] = field(default_factory=dict)
    """Wanted fraction of the images of each split but train; empty for folds and split files."""


def divide_split(
    data: DataConfig,
    root: Path,
    names: Sequence[str],
    class_counts: NDArray[np.int64],
    classes: Sequence[str],
    *,
    whole: bool,
) -> Division:
    """Divide images as the configuration says: by a split file, into folds, or by fractions.

    Args:
        data: how to divide.
        root: the data root.
        names: image paths, in sorted order.
        class_counts: objects of each class in each image; (images, classes).
        classes: name of each class.
        whole: the data has no splits; else only validation images are taken from train.

    Raises:
        ConfigError, DataError: the split file, the groups or the folds cannot be used.
    """
    if data.split_file is not None:
        return _by_file(data, root, names)
    test_fraction = data.test_fraction if whole else 0.0
    if data.folds is None and not data.val_fraction and not test_fraction:
        everything = {"train": list(range(len(names)))}
        note = "all images are for training: data.val_fraction and data.test_fraction are 0"
        return Division(everything, [note], split_rows(names, everything))
    groups = image_groups(data, root, names)
    of = groups.of if groups else None
    notes = [f"images kept together: {groups.summary}"] if groups else []
    fold_of = None
    shares: dict[str, float] = {}
    if data.folds is not None:
        fold_of = assign_folds(
            class_counts, names=names, classes=classes, folds=data.folds, groups=of,
            seed=data.split_seed, stratify=data.stratify, test_fraction=test_fraction,
        )  # fmt: skip
        images = fold_splits(fold_of, data.fold or 0)
        how = f"images were divided into {data.folds} folds, of which {data.fold or 0} is val"
    else:
        shares = {"val": data.val_fraction, "test": test_fraction}
        images = assign_splits(
            class_counts, names=names, classes=classes, fractions=shares, groups=of,
            seed=data.split_seed, stratify=data.stratify,
        )  # fmt: skip
        how = (
            "images were split at random"
            if whole
            else "there are no validation images; they were taken from the training images at "
            "random"
        )
    counts = ", ".join(f"{len(part)} {split}" for split, part in images.items())
    balanced = ", balanced by class" if data.stratify else ""
    notes.append(f"{how}{balanced} (seed {data.split_seed}: {counts})")
    if groups is None and (pattern := suggest_groups(names)) is not None:
        notes.append(
            "by their names, several images may show one scene, video or original: data leakage "
            "between the splits makes figures too high. To keep such images together, rerun with "
            f"'data.split_groups=\"{pattern}\"'"
        )
    return Division(images, notes, split_rows(names, images, fold_of=fold_of, groups=of), shares)


def refuse_to_divide(data: DataConfig, splits: Sequence[str]) -> None:
    """Refuse options that would divide data which has splits already.

    Raises:
        ConfigError: `data.split_file` or `data.folds` is given.
    """
    for key in ("split_file", "folds"):
        if getattr(data, key) is not None:
            raise ConfigError(
                f"data.{key}: the data is divided into {', '.join(splits)} already; to divide "
                "it again, give data.images and data.labels as folders that hold all of it."
            )


def _by_file(data: DataConfig, root: Path, names: Sequence[str]) -> Division:
    path = _there(data.split_file or Path(), root, "data.split_file")
    rows = read_split_file(path)
    listed = listed_splits(rows, names, data.fold)
    counts = ", ".join(f"{len(part)} {split}" for split, part in listed.splits.items())
    notes = [f"images were divided by {path} ({counts})", *listed.notes(path)]
    kept = [
        replace(listed.rows[row.file_name], file_name=row.file_name, split=row.split)
        for row in split_rows(names, listed.splits)
    ]
    return Division(listed.splits, notes, kept)


def image_groups(data: DataConfig, root: Path, names: Sequence[str]) -> ImageGroups | None:
    """Return the groups of `data.split_groups`; None where it is not set.

    Raises:
        ConfigError, DataError: they cannot be used.
    """
    if data.split_groups is None:
        return None
    if data.split_groups.endswith(".csv"):
        path = _there(Path(data.split_groups).expanduser(), root, "data.split_groups")
        return groups_from_table(path, names)
    return group_names(names, data.split_groups)


def _there(path: Path, root: Path, key: str) -> Path:
    """Return the file that a key names: below the data root, or from the current folder."""
    for candidate in (root / path, path):
        if candidate.is_file():
            return candidate
    raise ConfigError(f"{key}: there is no file {root / path}, and no {path.resolve()}.")
