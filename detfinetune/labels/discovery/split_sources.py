"""The folders of images and labels of each split."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, did_you_mean
from detfinetune.labels.dataset.split_names import names_on_disk, split_in
from detfinetune.labels.discovery.folders import names_below, subfolders


@dataclass(frozen=True)
class SplitSource:
    """The folders of one split."""

    labels: Path
    """Folder of label files, searched with its subfolders."""

    images: Path | None
    """Folder of images, searched with its subfolders; None if only their sizes are given."""

    image_list: Path | None = None
    """File that lists the images of the split."""

    only_labelled: bool = False
    """Whether images without a label file belong to no split: several splits share a folder."""


@dataclass(frozen=True)
class Layout:
    """The splits of a data set, or one source `all` that is still to be divided."""

    splits: dict[str, SplitSource]
    found: str
    """What was detected, for the user."""

    notes: tuple[str, ...] = field(default=())
    """What is ignored, for the user."""


def refuse_missing_splits(data: DataConfig, root: Path, splits: Collection[str]) -> None:
    """Stop where a split that `data.splits` names was not found.

    Raises:
        ConfigError: names the first of them and what is there.
    """
    missing = [name for split, name in (data.splits or {}).items() if split not in splits]
    if missing:
        there = sorted({part for name in names_below(root) for part in name.split("/")[:-1]})
        raise ConfigError(
            f"data.splits: nothing was found for '{missing[0]}' in {root}."
            f"{did_you_mean(missing[0], there)} There are: "
            f"{', '.join(there[:20]) or 'no folders'}. Name the splits that you have, "
            "or leave data.splits out to have them found."
        )


def undivided_if_only_train(splits: dict[str, SplitSource]) -> dict[str, SplitSource]:
    return {"all": splits["train"]} if set(splits) == {"train"} else splits


def mark_shared_images(splits: dict[str, SplitSource]) -> dict[str, SplitSource]:
    """Mark splits that share an image folder and have no lists: only labels show their images."""
    shared = [source.images for source in splits.values()]
    return {
        split: replace(
            source, only_labelled=shared.count(source.images) > 1 and source.image_list is None
        )
        for split, source in splits.items()
    }


def split_folders(
    data: DataConfig, parent: Path, is_wanted: Callable[[Path], bool] = lambda folder: True
) -> dict[str, Path]:
    """Return the wanted subfolders of `parent` that are splits.

    A folder of just the split's name comes before one with it among other words, such as
    `VisDrone2019-DET-train` or `train_images`.
    """
    names = names_on_disk(data)
    rank = {word.lower(): place for words in names.values() for place, word in enumerate(words)}
    folders = sorted(subfolders(parent), key=lambda f: (rank.get(f.name.lower(), len(rank)), f))
    found: dict[str, Path] = {}
    for folder in folders:
        split = split_in(folder.name, names)
        if split is not None and split not in found and is_wanted(folder):
            found[split] = folder
    return {split: found[split] for split in names if split in found}
