"""A data set's splits: where each one's images and labels are, and what it is called on disk."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.labels.discovery.folders import SPLIT_NAMES, subfolders


@dataclass(frozen=True)
class SplitSource:
    """Where one split's images and labels are."""

    labels: Path
    """Folder of label files, searched with its subfolders."""

    images: Path | None
    """Folder of images, searched with its subfolders; None: only their sizes are given."""

    image_list: Path | None = None
    """File that lists the images of the split."""

    only_labelled: bool = False
    """Whether images without a label file belong to no split: several splits share a folder."""


@dataclass(frozen=True)
class Layout:
    """The splits of a data set, or one source `all` that is still to be split."""

    splits: dict[str, SplitSource]
    found: str
    """What was taken, for the user to read."""

    notes: tuple[str, ...] = field(default=())
    """What else could have been meant, and what was left out."""


def lone_train_is_all(splits: dict[str, SplitSource]) -> dict[str, SplitSource]:
    return {"all": splits["train"]} if set(splits) == {"train"} else splits


def told_apart(splits: dict[str, SplitSource]) -> dict[str, SplitSource]:
    """Where splits share their images and have no lists, only the labels tell them apart."""
    shared = [source.images for source in splits.values()]
    return {
        split: replace(
            source, only_labelled=shared.count(source.images) > 1 and source.image_list is None
        )
        for split, source in splits.items()
    }


def disk_candidates(data: DataConfig) -> dict[str, tuple[str, ...]]:
    """Return the names that each split may have on disk, best first."""
    if data.splits is not None:
        return {split: (name,) for split, name in data.splits.items()}
    return SPLIT_NAMES


def disk_names(data: DataConfig) -> dict[str, str]:
    return {split: names[0] for split, names in disk_candidates(data).items()}


def split_folders(data: DataConfig, parent: Path) -> dict[str, Path]:
    """Return the subfolders of `parent` that are splits."""
    folders = {path.name.lower(): path for path in subfolders(parent)}
    found = {}
    for split, names in disk_candidates(data).items():
        match = next((folders[name.lower()] for name in names if name.lower() in folders), None)
        if match is not None:
            found[split] = match
    return found
