"""What a data set's files are, before labels become records: images and their label files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from detfinetune.labels.dataset.ledger import LedgerEntry
from detfinetune.labels.discovery.detect_format import FormatChoice
from detfinetune.labels.discovery.folders import names_below
from detfinetune.labels.formats.raw_labels import RawImage
from detfinetune.labels.images.sizes import Size, is_image_name


@dataclass(frozen=True)
class ImageFile:
    """An image that belongs to a split, or the labels of one that is not there."""

    name: str
    """Path relative to the image root, with forward slashes."""

    label: str = ""
    """Label file relative to the data root, or absolute; empty where there is none."""

    raw: RawImage | None = None
    """What a label file of many images says of this one; None: `label` is still to be read."""


@dataclass(frozen=True)
class SplitFiles:
    """All that belongs to one split."""

    image_root: Path
    images: tuple[ImageFile, ...]
    """In sorted order."""

    orphans: tuple[ImageFile, ...] = ()
    """Labels without an image."""

    rejected_images: int = 0


@dataclass
class DiscoveredDataset:
    """A data set whose labels are still text, or as raw as their file gives them."""

    root: Path
    format: FormatChoice
    found: str
    """The arrangement of files that was taken, for the user to read."""

    label_folders: list[Path]
    """Where label files were looked for; class names are looked for there too."""

    splits: dict[str, SplitFiles]
    """train, val, test; or `all`, where the data comes in one piece."""

    notes: list[str] = field(default_factory=list)
    entries: list[LedgerEntry] = field(default_factory=list)
    sizes: dict[str, Size] | None = None
    """Image sizes by name, where they are given instead of images."""

    image_lists: tuple[Path, ...] = ()
    """The files that list the images of a split."""

    classes: tuple[str, ...] = ()
    """The class list that the label files themselves declare."""

    normalized: bool = False
    """Whether label files of many images give shares of the image's size, not pixels."""

    divided: bool = False
    """Whether the splits are final, as those of a conversion are, even where one is missing."""


def image_names(folder: Path) -> list[str]:
    """Return the images below `folder`, relative to it, in sorted order of their folders."""
    return [name for name in names_below(folder) if is_image_name(name)]


def shown_path(path: Path, root: Path) -> str:
    """Return a path relative to the data root where it lies below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
