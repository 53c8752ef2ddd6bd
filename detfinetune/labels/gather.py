"""Finds all images and labels of a data set, whatever its format."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.labels.folders import listed_once
from detfinetune.labels.gather_documents import gather_documents
from detfinetune.labels.gather_files import gather_files
from detfinetune.labels.gathered import Gathered
from detfinetune.labels.recognise import choose_format


def gather_dataset(data: DataConfig, root: Path) -> Gathered:
    """Find and match all images and label files of `data`.

    Raises:
        ConfigError, DataError: nothing usable is there.
    """
    with listed_once():
        choice = choose_format(data, root)
        gather = gather_files if choice.file_per_image else gather_documents
        gathered = gather(data, root, choice)
    if choice.note:
        gathered.notes.append(choice.note)
    _note_shared_images(gathered)
    return gathered


def _note_shared_images(gathered: Gathered) -> None:
    """Say so when splits share images: AP would be measured on what was trained on."""
    owners: dict[tuple[Path, str], str] = {}
    shared: Counter[tuple[str, str]] = Counter()
    for split, files in gathered.splits.items():
        for image in files.images:
            first = owners.setdefault((files.image_root, image.name), split)
            if first != split:
                shared[first, split] += 1
    for (first, second), count in shared.items():
        gathered.notes.append(
            f"{count} images are in both {first} and {second}: figures measured on {second} will "
            "be too good"
        )
