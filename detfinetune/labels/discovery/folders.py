"""Known folder names, and the files in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from detfinetune.labels.dataset.manifest import (
    EXPORT_NAME,
    JOURNAL_NAME,
    MANIFEST_NAME,
    PREDICTIONS_NAME,
    RESULTS_NAME,
)
from detfinetune.labels.dataset.split_names import SPLIT_NAMES
from detfinetune.labels.discovery.class_names import CLASS_FILES
from detfinetune.labels.images.sizes import is_image_name

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "data")
LABEL_FOLDERS = (
    "labels", "label", "labels_txt", "labeltxt", "annotations", "annotation", "groundtruth",
    "ground_truth", "gt", "txt", "bboxes", "boxes", "xml", "xmls", "json", "jsons",
)  # fmt: skip

_NO_LABELS = ("readme", "license", "licence", "requirements", "notice", "changelog", "labelmap")
_HIDDEN = (".", "__MACOSX")
_NAME_LISTS = {f"{word}.txt" for words in SPLIT_NAMES.values() for word in words}
_NAME_LISTS |= set(CLASS_FILES)
_OUTPUTS = (
    {MANIFEST_NAME, "ledger.csv"}, {EXPORT_NAME, "ledger.csv"}, {PREDICTIONS_NAME, RESULTS_NAME},
    {JOURNAL_NAME}, {"environment.json", "ledger.csv"},
)  # fmt: skip


_LISTINGS: ContextVar[dict[str, tuple[str, ...]] | None] = ContextVar("listings", default=None)


def walk(folder: Path) -> Iterator[Path]:
    """Yield every file below `folder` in sorted order.

    Hidden folders and outputs of conversions, trainings and predictions are ignored. Links are
    followed, but each folder is visited once.
    """
    return (folder / name for name in names_below(folder))


def names_below(folder: Path) -> Iterator[str]:
    """Yield what `walk` does as names relative to `folder`, with forward slashes.

    There may be hundreds of thousands, and a Path takes ten times as long as a string.
    """
    known = _LISTINGS.get()
    if known is None:
        yield from _listed(folder)
        return
    place = folder.as_posix()
    if place not in known:
        known[place] = _part_of(known, place) or tuple(_listed(folder))
    yield from known[place]


def _part_of(known: dict[str, tuple[str, ...]], place: str) -> tuple[str, ...]:
    """Return the part of a parent folder's listing below `place`; empty if there is none.

    A listing leaves out hidden folders and outputs, which may be asked for by name.
    """
    for above, names in known.items():
        prefix = place[len(above) :].lstrip("/") + "/"
        if place.startswith(f"{above.rstrip('/')}/"):
            return tuple(name[len(prefix) :] for name in names if name.startswith(prefix))
    return ()


@contextmanager
def listed_once() -> Iterator[None]:
    """List each folder once within this block, during which files must not change."""
    token = _LISTINGS.set({})
    try:
        yield
    finally:
        _LISTINGS.reset(token)


def _listed(folder: Path) -> Iterator[str]:
    top = len(str(folder)) + (not str(folder).endswith(os.sep))
    real_top = os.path.realpath(folder)
    visited: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        if len(place) >= top and any(marks.issubset(files) for marks in _OUTPUTS):
            folders.clear()
            continue
        folders[:] = sorted(
            name for name in folders
            if not name.startswith(_HIDDEN) and not _leads_back(place, name, real, real_top)
        )  # fmt: skip
        inside = place[top:].replace(os.sep, "/")
        prefix = f"{inside}/" if inside else ""
        for name in sorted(files):
            if not name.startswith("."):
                yield prefix + name


def _leads_back(place: str, name: str, real: str, real_top: str) -> bool:
    """Whether a folder is a link to one that holds it, or that is visited at its own place."""
    path = os.path.join(place, name)  # noqa: PTH118
    if not os.path.islink(path):  # noqa: PTH114
        return False
    target = os.path.realpath(path) + os.sep
    is_hidden = any(f"{os.sep}{mark}" in target[len(real_top) :] for mark in _HIDDEN)
    inside = target.startswith(real_top + os.sep) and not is_hidden
    return inside or (real + os.sep).startswith(target)


def is_label_name(name: str, suffix: str = ".txt") -> bool:
    """Whether a file may hold labels: it has the suffix and is not a class list or a read-me."""
    name = name.rpartition("/")[2].lower()
    return name.endswith(suffix) and name not in _NAME_LISTS and not name.startswith(_NO_LABELS)


def has_images(folder: Path) -> bool:
    """Whether any image lies below `folder`."""
    return any(map(is_image_name, names_below(folder)))


def has_labels(folder: Path, suffix: str = ".txt") -> bool:
    """Whether any label file lies below `folder`."""
    return any(is_label_name(name, suffix) for name in names_below(folder))


def labels_folder_for(images: Path, suffix: str = ".txt") -> Path | None:
    """Return the folder of labels that belongs to a folder of images, or None."""
    swapped = swap_part(images, IMAGE_FOLDERS, "labels")
    for folder in (swapped, images):
        if folder is not None and has_labels(folder, suffix):
            return folder
    return None


def images_folder_for(labels: Path, root: Path) -> Path | None:
    """Return the folder of images that belongs to a folder of labels, or None."""
    swapped = swap_part(labels, LABEL_FOLDERS, "images")
    beside = children(root, IMAGE_FOLDERS)
    for folder in (swapped, labels, *beside, root):
        if folder is not None and has_images(folder):
            return folder
    return None


def swap_part(folder: Path, names: tuple[str, ...], other: str) -> Path | None:
    """Replace the last part of a path that is one of `names`."""
    parts = list(folder.parts)
    for index in reversed(range(len(parts))):
        if parts[index].lower() in names:
            return Path(*parts[:index], other, *parts[index + 1 :])
    return None


def children(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Return the subfolders with one of `names`, in the order of `names`."""
    found = {path.name.lower(): path for path in subfolders(folder)}
    return [found[name] for name in names if name in found]


def subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    # scandir knows which entries are folders; asking for each of 100,000 files is slow.
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if entry.is_dir())
