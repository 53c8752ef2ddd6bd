"""The split that a run keeps: `images.csv`, with hashes of each image and of its labels.

Images are recognised by their content first, so that a renamed or moved image keeps its split and
another image under an old name does not take it over.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detfinetune import files
from detfinetune.errors import ConfigError
from detfinetune.labels.csv_text import read_image_rows
from detfinetune.labels.dataset.coco_json import label_hashes
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.images.hashes import hash_images

FILE_NAME = "images.csv"
_COLUMNS = ("file_name", "split", "content", "labels")


@dataclass(frozen=True)
class RunImage:
    """An image of a run."""

    file_name: str
    """Path relative to its split's image root, with forward slashes."""

    split: str
    content: str
    """Hash of the file (`hash_images`)."""

    labels: str
    """Hash of its labels."""


def write_run_split(run: Path, classes: Sequence[str], tables: Mapping[str, LabelTable]) -> None:
    """Write the images of a data set into the folder of the run that is trained on it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for split, table in tables.items():
        contents = hash_images([table.image_root / name for name in table.names])
        labels = label_hashes(classes, table)
        for row in zip(table.names, contents, labels, strict=True):
            writer.writerow([_one_line(row[0]), split, *row[1:]])
    files.write_text(run / FILE_NAME, text.getvalue())


def _one_line(name: str) -> str:
    """Return a file name as valid text of one line; such images are found by their content."""
    text = name.encode("utf-8", "backslashreplace").decode()
    return text.replace("\r", "\\r").replace("\n", "\\n")


def read_run_split(run: Path, *, extend: bool = False) -> RunSplit | None:
    """Return the split of a run, by its folder; None where it keeps none, as in older versions.

    Raises:
        DataError: its `images.csv` cannot be read.
    """
    path = run / FILE_NAME
    if not path.is_file():
        return None
    rows = read_image_rows(path, required=_COLUMNS)
    return RunSplit(run, [RunImage(row.file_name, **row.cells) for row in rows], extend)


def extended_split(run: Path) -> RunSplit:
    """Return the split of a run for more images than it had: those that are new are for training.

    Raises:
        ConfigError: `data.split_from` is not the folder of a run that keeps its split.
    """
    split = read_run_split(run, extend=True)
    if split is None:
        raise ConfigError(
            f"data.split_from={run}: there is no {FILE_NAME}, which each run keeps. Give the "
            f"folder of a run, or its split file with data.split_file={run / 'split.csv'}."
        )
    return split


@dataclass
class RunSplit:
    """Gives images the split that they had in a run, and collects what has changed since."""

    run: Path
    images: list[RunImage]
    extend: bool = False
    """Whether images that the run does not know are for training; else they are left out."""

    changed: set[int] = field(default_factory=set)
    """By place in `images`: those whose file has another content now."""

    new: list[str] = field(default_factory=list)
    """Images that the run does not know."""

    moved: list[str] = field(default_factory=list)
    """Images that lie in the folder of another split than in the run, and are left out."""

    found: dict[int, str] = field(default_factory=dict)
    """By place in `images`: name of the image that is there now."""

    def divide(
        self, source: str, names: Sequence[str], contents: Sequence[str], into: Collection[str]
    ) -> dict[str, list[int]]:
        """Return image indices by split, ascending.

        Args:
            source: split on disk that the images are in.
            names: their paths relative to its image root.
            contents: hashes of the files.
            into: splits that they may go to.
        """
        known = {image.content for image in self.images}
        place = self._match(names, contents, known, into)
        splits: dict[str, list[int]] = {"train": [], "val": [], "test": []}
        for at, name in enumerate(names):
            if at in place:
                image = self.images[place[at]]
                self.found[place[at]] = name
                splits[image.split].append(at)
                if image.content != contents[at]:
                    self.changed.add(place[at])
            elif contents[at] in known:
                # A copy, or moved into another split's folder: never on both sides.
                self.moved.append(name)
            else:
                self.new.append(name)
                if self.extend and "train" in into:
                    splits["train"].append(at)
        own = "train" if "train" in into else source
        return {split: images for split, images in splits.items() if images or split == own}

    def _match(
        self,
        names: Sequence[str],
        contents: Sequence[str],
        known: set[str],
        into: Collection[str],
    ) -> dict[int, int]:
        """Return for images the place of the same image in `images`."""
        rows = [
            number
            for number, image in enumerate(self.images)
            if number not in self.found and image.split in into
        ]
        place: dict[int, int] = {}
        keys: list[tuple[Callable[[RunImage], object], Callable[[int], object]]] = [
            (lambda row: (row.file_name, row.content), lambda at: (names[at], contents[at])),
            (lambda row: row.content, lambda at: contents[at]),
            # A copy of another image of the run is not a new version of this one.
            (lambda row: row.file_name, lambda at: contents[at] not in known and names[at]),
        ]
        for of_row, of_image in keys:
            taken = set(place.values())
            free: defaultdict[object, list[int]] = defaultdict(list)
            for number in reversed(rows):
                if number not in taken:
                    free[of_row(self.images[number])].append(number)
            for at in range(len(names)):
                if at not in place and (candidates := free.get(of_image(at))):
                    place[at] = candidates.pop()
        return place

    @property
    def summary(self) -> str:
        """What a run on more images than `run` had does with them, for the user."""
        text = f"images keep their splits of {self.run}; {len(self.new)} new ones are for training"
        if self.moved:
            text += (
                f"; {len(self.moved)} copies of its images, or images in another split's folder "
                f"than there, are left out, such as {self.moved[0]}"
            )
        missing = len(self.images) - len(self.found)
        return f"{text}; {missing} are missing" if missing else text

    def changes(
        self, classes: Sequence[str], tables: Mapping[str, LabelTable], *splits: str
    ) -> dict[str, list[str]]:
        """Return what has changed since the run began, by kind, as file names.

        An image that is there, but of whose labels none can be used, is missing.

        Args:
            classes, tables: of the data set as it is now.
            splits: those of the run that are compared.
        """
        now = {
            (split, name): labels
            for split in splits
            if split in tables
            for name, labels in zip(
                tables[split].names, label_hashes(classes, tables[split]), strict=True
            )
        }
        changes: dict[str, list[str]] = {}
        for number, image in enumerate(self.images):
            if image.split not in splits:
                continue
            labels = now.get((image.split, self.found.get(number, "")))
            if labels is None:
                changes.setdefault("missing", []).append(image.file_name)
                continue
            if number in self.changed:
                changes.setdefault("other content", []).append(image.file_name)
            if labels != image.labels:
                changes.setdefault("other labels", []).append(image.file_name)
        return changes
