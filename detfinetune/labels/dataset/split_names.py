"""The dataset splits and the names that folders, files and table cells give them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detfinetune.config.schema import DataConfig

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training", "trainval"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The names each split may have, best first."""


def names_on_disk(data: DataConfig) -> Mapping[str, tuple[str, ...]]:
    """Return the names each split may have on disk: those of `data.splits`, else `SPLIT_NAMES`."""
    if data.splits is not None:
        return {split: (name,) for split, name in data.splits.items()}
    return SPLIT_NAMES


def split_words(data: DataConfig) -> set[str]:
    """Return all names of splits on disk in lower case."""
    return {name.lower() for options in names_on_disk(data).values() for name in options}


def split_in(name: str, names: Mapping[str, tuple[str, ...]] = SPLIT_NAMES) -> str | None:
    """Return the split that a name without ending means, as a whole or by its first such word.

    `VisDrone2019-DET-test-dev` and `test_images` are test, `instances_val2017` is val.
    """
    split_of = {known.lower(): split for split, options in names.items() for known in options}
    words = (name.lower(), *re.findall(r"[^\W\d_]+", name.lower()))
    return next((split_of[word] for word in words if word in split_of), None)
