"""Brings images and label files together, split by split, before a single line is read.

- a label file belongs to the image of the same path below its folder, but for the ending; where
  the folders are not mirrored, to the only image of that name
- a label file without an image: its lines are all rejected
- an image without a label file is a true negative (and so is one whose label file is empty),
  unless several splits share the image folder and only the labels say what belongs to which
- of several images that differ in their ending alone, the first by name has the label; the
  others are left out
- with an image list, only listed images belong to the split; listed images that are missing are
  rejected
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from detfinetune import console
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.folders import is_label_file, walk
from detfinetune.labels.image_sizes import Size, is_image, read_size_table
from detfinetune.labels.layout import find_layout
from detfinetune.labels.ledger import LedgerEntry
from detfinetune.labels.matching import NameFinder, label_key, match_labels
from detfinetune.labels.sources import Layout, SplitSource
from detfinetune.labels.split import seeded_split
from detfinetune.labels.text import TextFile, read_text_file

_MANY = 2000


@dataclass(frozen=True)
class LabelFile:
    """A label file and its text."""

    shown: str
    """Path relative to the data root, for messages."""

    text: TextFile


@dataclass(frozen=True)
class ImageFile:
    """An image that belongs to a split."""

    name: str
    """Path relative to the image root, with forward slashes."""

    label: LabelFile | None


@dataclass(frozen=True)
class SplitFiles:
    """All that belongs to one split."""

    image_root: Path
    images: tuple[ImageFile, ...]
    """In sorted order."""

    orphans: tuple[LabelFile, ...] = ()
    """Label files without an image."""

    rejected_images: int = 0


@dataclass
class Gathered:
    """A data set whose labels are still text."""

    root: Path
    layout: Layout
    splits: dict[str, SplitFiles]
    notes: list[str] = field(default_factory=list)
    entries: list[LedgerEntry] = field(default_factory=list)
    sizes: dict[str, Size] | None = None
    """Image sizes by name, where they are given instead of images."""

    @property
    def label_folders(self) -> list[Path]:
        """The folders that label files were looked for in."""
        return [source.labels for source in self.layout.splits.values()]


def gather_dataset(data: DataConfig, root: Path) -> Gathered:
    """Find, match and read all label files of `data`, and settle the splits.

    Raises:
        ConfigError, DataError: nothing usable is there.
    """
    layout = find_layout(data, root)
    sizes = read_size_table(root / data.image_sizes) if data.image_sizes else None
    gathered = Gathered(root, layout, {}, list(layout.notes), sizes=sizes)
    for split, source in layout.splits.items():
        gathered.splits[split] = _SplitGatherer(gathered, split, source).gather()
    if not any(image.label for files in gathered.splits.values() for image in files.images):
        raise DataError(_no_pair(gathered))
    _cut_splits(gathered, data)
    _note_shared_images(gathered)
    return gathered


class _SplitGatherer:
    """The matching of one split."""

    def __init__(self, gathered: Gathered, split: str, source: SplitSource) -> None:
        self.gathered = gathered
        self.split = split
        self.source = source
        self.rejected = 0

    def gather(self) -> SplitFiles:
        source = self.source
        if self.gathered.sizes is not None:
            names = list(self.gathered.sizes)
        else:
            folder = source.images or self.gathered.root
            found = (path for path in walk(folder) if is_image(path))
            names = [path.relative_to(folder).as_posix() for path in found]
        missing: list[str] = []
        listed = names
        if source.image_list is not None:
            listed, missing = self._listed(names, source.image_list)
        labels = self._label_paths(names)
        matched = match_labels(sorted(listed), labels)
        self._reject_twins(matched.twins)
        images = sorted(set(listed) - set(matched.twins))
        if source.only_labelled:
            images = [name for name in images if name in matched.label_of]
        orphans = self._orphans(labels, matched.label_of, missing)
        return SplitFiles(
            image_root=source.images or self.gathered.root,
            images=tuple(
                ImageFile(name, self._read(labels.get(matched.label_of.get(name, ""))))
                for name in _with_progress(images, "reading labels")
            ),
            orphans=tuple(
                label for key in sorted(orphans) if (label := self._read(labels[key])) is not None
            ),
            rejected_images=self.rejected,
        )

    def _label_paths(self, names: Iterable[str]) -> dict[str, Path]:
        """Return the label files by key. A file called like a read-me counts beside its image."""
        keys = {label_key(name) for name in names}
        found = {}
        for path in walk(self.source.labels):
            if path.suffix.lower() == ".txt":
                key = label_key(path.relative_to(self.source.labels).as_posix())
                if is_label_file(path) or key in keys:
                    found[key] = path
        return found

    def _orphans(
        self, labels: dict[str, Path], label_of: dict[str, str], missing: list[str]
    ) -> set[str]:
        if self.source.image_list is None:
            return set(labels) - set(label_of.values())
        # What is not listed belongs to other splits, or to none.
        stems = {PurePosixPath(label_key(name)).name for name in missing}
        return {key for key in labels if PurePosixPath(key).name in stems} - set(label_of.values())

    def _listed(self, names: list[str], list_path: Path) -> tuple[list[str], list[str]]:
        """Return the images that the list names, and the entries that no image fits."""
        find = NameFinder(names)
        found: dict[str, int] = {}
        missing: list[str] = []
        shown = _shown(list_path, self.gathered.root)
        for number, line in enumerate(read_text_file(list_path).lines, start=1):
            if not line or line.startswith("#"):
                continue
            name = find(line)
            if name is None:
                missing.append(line)
                self.rejected += 1
                self._enter(shown, number, "missing image", f"there is no image '{line}'", line)
            elif name in found:
                reason = f"'{name}' is listed already in line {found[name]}"
                self._enter(shown, number, "listed twice", reason, line, rejected=False)
            else:
                found[name] = number
        if len(missing) > len(found):
            raise DataError(
                f"{shown}: {len(missing)} of {len(missing) + len(found)} listed images are not in "
                f"{self.source.images or 'the image sizes'}, such as '{missing[0]}'. Is it the "
                "list that belongs to these images? Give another with data.image_list=FILE."
            )
        return list(found), missing

    def _reject_twins(self, twins: dict[str, str]) -> None:
        for name, first in sorted(twins.items()):
            self.rejected += 1
            reason = (
                f"has the same label file as '{first}', which differs in its ending alone; this "
                "image is left out"
            )
            path = _shown((self.source.images or self.gathered.root) / name, self.gathered.root)
            self._enter(path, 0, "same stem", reason)

    def _enter(
        self, path: str, line: int, kind: str, reason: str, text: str = "", rejected: bool = True
    ) -> None:
        # Lines of lists are no label lines: their entries carry the number in the path.
        where = f"{path}:{line}" if line else path
        action = "rejected" if rejected else "note"
        self.gathered.entries.append(
            LedgerEntry(self.split, where, 0, action, kind, reason, text)  # type: ignore[arg-type]
        )

    def _read(self, path: Path | None) -> LabelFile | None:
        if path is None:
            return None
        shown = _shown(path, self.gathered.root)
        text = read_text_file(path)
        if text.note:
            self._enter(shown, 0, "encoding", text.note, rejected=False)
        return LabelFile(shown, text)


def _with_progress(names: list[str], description: str) -> Iterable[str]:
    """Return `names` with a progress bar when it takes long enough to be worth one."""
    if len(names) < _MANY:
        return names
    return console.progress(names, description=description, unit="file")


def _cut_splits(gathered: Gathered, data: DataConfig) -> None:
    """Split what comes in one piece, and cut val off train where only train and test are given."""
    splits = gathered.splits
    if "all" in splits:
        files = splits.pop("all")
        parts = seeded_split(files.images, data.val_fraction, data.test_fraction, data.split_seed)
        cut = "images were split at random"
    elif "train" in splits and "val" not in splits and data.val_fraction > 0:
        files = splits.pop("train")
        parts = seeded_split(files.images, data.val_fraction, 0, data.split_seed)
        cut = "no validation images were there; they were taken from the training images at random"
    else:
        return
    for split, images in parts.items():
        splits[split] = replace(files, images=tuple(images))
        if split != "train":
            splits[split] = replace(splits[split], orphans=(), rejected_images=0)
    gathered.splits = {
        split: splits[split] for split in ("train", "val", "test") if split in splits
    }
    gathered.entries = [
        replace(entry, split="train") if entry.split == "all" else entry
        for entry in gathered.entries
    ]
    counts = ", ".join(f"{len(images)} {split}" for split, images in parts.items())
    gathered.notes.append(f"{cut} (seed {data.split_seed}: {counts})")


def _note_shared_images(gathered: Gathered) -> None:
    """Say so when splits share images: AP would be measured on what was trained on."""
    owners: dict[Path, str] = {}
    shared: Counter[tuple[str, str]] = Counter()
    for split, files in gathered.splits.items():
        for image in files.images:
            first = owners.setdefault(files.image_root / image.name, split)
            if first != split:
                shared[first, split] += 1
    for (first, second), count in shared.items():
        gathered.notes.append(
            f"{count} images are in both {first} and {second}: figures measured on {second} will "
            "be too good"
        )


def _no_pair(gathered: Gathered) -> str:
    lines = []
    for source in gathered.layout.splits.values():
        images = gathered.splits[next(iter(gathered.splits))].images
        example = images[0].name if images else "no image"
        lines.append(f"  images in {source.images}, such as {example}; labels in {source.labels}")
    listed = "\n".join(lines)
    return (
        f"{gathered.root}: no label file has the name of an image (a.txt for a.jpg), taking "
        f"{gathered.layout.found}:\n{listed}\nGive data.images=FOLDER and data.labels=FOLDER."
    )


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
