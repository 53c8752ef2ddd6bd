"""The files of a data set: images and their label files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from detfinetune.labels.dataset.ledger import LedgerEntry
from detfinetune.labels.discovery.detect_format import FormatChoice
from detfinetune.labels.discovery.folders import names_below
from detfinetune.labels.formats.raw_labels import RawImage
from detfinetune.labels.images.sizes import Size, is_image_name


@dataclass(frozen=True)
class ImageFile:
    """An image of a split, or the labels of one that is missing."""

    name: str
    """Path relative to the image root, with forward slashes."""

    label: str = ""
    """Label file relative to the data root, or absolute; empty where there is none."""

    raw: RawImage | None = None
    """The labels from a file of many images; None: `label` is still to be read."""


@dataclass(frozen=True)
class SplitFiles:
    """All that belongs to one split."""

    image_root: Path
    images: tuple[ImageFile, ...]
    """In sorted order."""

    orphans: tuple[ImageFile, ...] = ()
    """Labels without an image."""

    rejected_images: int = 0
    category_ids: dict[str, int] = field(default_factory=dict)
    """COCO category ids by class name, where the label file has them."""


@dataclass
class DiscoveredDataset:
    """The files of a data set, with labels not yet parsed or as raw as their file has them."""

    root: Path
    format: FormatChoice
    found: str
    """The layout that was detected, for the user."""

    label_folders: list[Path]
    """Where label files were looked for; class names are looked for there too."""

    splits: dict[str, SplitFiles]
    """train, val, test; or `all` if the data has no splits."""

    notes: list[str] = field(default_factory=list)
    entries: list[LedgerEntry] = field(default_factory=list)
    sizes: dict[str, Size] | None = None
    """Image sizes by name, where they are given instead of images."""

    image_lists: tuple[Path, ...] = ()
    """The files that list the images of a split."""

    classes: tuple[str, ...] = ()
    """The class list that the label files themselves declare."""

    normalized: bool = False
    """Whether label files of many images have normalized coordinates."""

    divided: bool = False
    """Whether the splits are final even if one is missing, as in a converted folder."""


def image_names(folder: Path) -> list[str]:
    """Return the images below `folder`, relative to it, in sorted order of their folders."""
    return [name for name in names_below(folder) if is_image_name(name)]


def shown_path(path: Path, root: Path) -> str:
    """Return a path relative to the data root where it lies below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def other_case_note(place: str, pairs: Mapping[str, str]) -> list[str]:
    """Return a note of images found by names in other upper and lower case, if there are any."""
    return [
        f"{place}: {len(pairs)} names differ from those of their images in upper and lower case "
        f"only, such as {label} for {image}"
        for image, label in list(pairs.items())[:1]
    ]
