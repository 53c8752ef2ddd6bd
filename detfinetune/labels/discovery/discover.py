"""Finds all images and labels of a data set, whatever its format."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.labels.discovery.detect_format import choose_format
from detfinetune.labels.discovery.discover_documents import discover_documents
from detfinetune.labels.discovery.discover_label_files import discover_label_files
from detfinetune.labels.discovery.discover_store import discover_store
from detfinetune.labels.discovery.discovered import DiscoveredDataset
from detfinetune.labels.discovery.folders import listed_once
from detfinetune.labels.discovery.unused import note_unused
from detfinetune.labels.formats.registry import DOCUMENT_FORMATS


def discover_dataset(data: DataConfig, root: Path) -> DiscoveredDataset:
    """Find and match all images and label files of `data`.

    Raises:
        ConfigError, DataError: nothing usable is there.
    """
    with listed_once():
        choice = choose_format(data, root)
        if choice.format is DOCUMENT_FORMATS["detfinetune"]:
            return discover_store(data, root, choice)
        discover = discover_label_files if choice.file_per_image else discover_documents
        discovered = discover(data, root, choice)
        note_unused(data, discovered)
    _note_shared_images(discovered)
    return discovered


def _note_shared_images(discovered: DiscoveredDataset) -> None:
    """Note images that are in two splits: data leakage."""
    owners: dict[tuple[Path, str], str] = {}
    shared: Counter[tuple[str, str]] = Counter()
    for split, files in discovered.splits.items():
        for image in files.images:
            first = owners.setdefault((files.image_root, image.name), split)
            if first != split:
                shared[first, split] += 1
    for (first, second), count in shared.items():
        discovered.notes.append(
            f"{count} images are in both {first} and {second}: data leakage makes the figures of "
            f"{second} too high"
        )
