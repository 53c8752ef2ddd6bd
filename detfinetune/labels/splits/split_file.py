"""Split files: CSV with a line for each image, which can be committed.

    file_name,split,fold,group
    lake/0001.jpg,train,0,lake
    lake/0002.jpg,train,0,lake
    pond/0001.jpg,test,,pond

`fold` and `group` are optional. Images of a fold are divided into train and
val by choosing a fold; those without one keep their split.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from detfinetune import files
from detfinetune.errors import ConfigError, DataError, did_you_mean
from detfinetune.labels.csv_text import ImageRow, read_image_rows
from detfinetune.labels.dataset.records import SplitRow
from detfinetune.labels.dataset.split_names import SPLIT_NAMES
from detfinetune.labels.discovery.match_images import match_listed

_PROBLEMS_SHOWN = 10
# Characters that reading strips from lines; cells that start or end with them are quoted.
_STRIPPED = " \t\0\x1a\ufeff\xa0"


@dataclass(frozen=True)
class ListedSplits:
    """The splits that a split file gives to images."""

    splits: dict[str, list[int]]
    """Image indices by split, ascending; splits without images are left out."""

    rows: dict[str, SplitRow]
    """The row of each image that is listed."""

    missing: tuple[SplitRow, ...]
    """Rows whose image is missing."""

    unlisted: tuple[str, ...]
    """Images that the file does not list; they belong to no split."""

    def notes(self, path: Path) -> list[str]:
        """Return notes for the user; `path` is the split file."""
        notes = []
        if self.missing:
            first = self.missing[0]
            notes.append(
                f"{path}: {len(self.missing)} listed images are missing, such as "
                f"'{first.file_name}' on line {first.line}"
            )
        if self.unlisted:
            notes.append(
                f"{path} does not list {len(self.unlisted)} images, which are ignored, such as "
                f"'{self.unlisted[0]}'"
            )
        return notes


def split_rows(
    names: Sequence[str],
    splits: dict[str, list[int]],
    *,
    fold_of: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
) -> list[SplitRow]:
    """Return the rows of a split, for `write_split_file`.

    Args:
        names: paths of the images.
        splits: image indices by split.
        fold_of: fold of each image, below 0 where it is in none.
        groups: group of each image.
    """
    return [
        SplitRow(
            file_name=names[image],
            split=split,
            fold=fold_of[image] if fold_of is not None and fold_of[image] >= 0 else None,
            group=groups[image] if groups is not None else "",
        )
        for split, images in splits.items()
        for image in images
    ]


def write_split_file(path: Path, rows: Iterable[SplitRow]) -> None:
    """Write rows sorted by file name, whole or not at all.

    Raises:
        DataError: an image is listed twice, or a name cannot be written into a text file.
    """
    ordered = sorted(rows, key=lambda row: row.file_name)
    with_fold = any(row.fold is not None for row in ordered)
    with_group = any(row.group for row in ordered)
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(["file_name", "split", *["fold"] * with_fold, *["group"] * with_group])
    last = None
    for row in ordered:
        name = row.file_name.replace("\\", "/")
        if name == last:
            raise DataError(f"{path}: '{name}' would be listed twice.")
        last = name
        cells = [name, row.split]
        if with_fold:
            cells.append("" if row.fold is None else str(row.fold))
        if with_group:
            cells.append(row.group)
        _check_writable(path, name, cells)
        needs_quotes = any(cell != cell.strip(_STRIPPED) for cell in cells)
        (quoted if needs_quotes else plain).writerow(cells)
    files.write_text(path, text.getvalue())


def _check_writable(path: Path, name: str, cells: list[str]) -> None:
    try:
        "".join(cells).encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path}: {name!r} cannot be listed: its name is not valid Unicode. Rename the image."
        ) from error
    if any(mark in cell for cell in cells for mark in "\r\n\0"):
        raise DataError(f"{path}: {name!r} cannot be listed: it holds a line end. Rename it.")


def read_split_file(path: Path) -> tuple[SplitRow, ...]:
    """Read a split file; the rows are in its order, an image that is repeated is there once.

    Raises:
        DataError: the file cannot be read, or lines of it are wrong; the text lists them.
    """
    problems: list[str] = []
    seen: dict[str, SplitRow] = {}
    rows = read_image_rows(path, required=("file_name", "split"), optional=("fold", "group"))
    for cells in rows:
        try:
            row = _parse(cells)
        except ValueError as error:
            problems.append(f"{path}:{cells.line}: {error}")
            continue
        first = seen.setdefault(row.file_name, row)
        if first != row:
            problems.append(
                f"{path}:{row.line}: '{row.file_name}' is in {_described(row)} here and in "
                f"{_described(first)} in line {first.line}. Leave one of the lines."
            )
    if problems:
        shown = problems[:_PROBLEMS_SHOWN]
        if len(problems) > len(shown):
            shown.append(f"... and {len(problems) - len(shown)} more.")
        raise DataError("\n".join(shown))
    if not seen:
        raise DataError(f"{path}: it lists no images.")
    return tuple(seen.values())


def _parse(row: ImageRow) -> SplitRow:
    """Return a row as a value.

    Raises:
        ValueError: with the reason.
    """
    word = row.cells["split"]
    split = next((s for s, names in SPLIT_NAMES.items() if word.lower() in names), None)
    if split is None:
        raise ValueError(
            f"unknown split '{word}'.{did_you_mean(word, SPLIT_NAMES)} Splits are train, val and "
            "test."
        )
    text = row.cells.get("fold", "")
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"fold '{text}' should be a whole number from 0, or empty.")
    fold = int(text) if text else None
    return SplitRow(row.file_name, split, fold, row.cells.get("group", ""), row.line)


def _described(row: SplitRow) -> str:
    parts = [row.split]
    if row.fold is not None:
        parts.append(f"fold {row.fold}")
    if row.group:
        parts.append(f"group {row.group}")
    return ", ".join(parts)


def listed_splits(
    rows: Sequence[SplitRow], names: Sequence[str], fold: int | None = None
) -> ListedSplits:
    """Return the splits that a split file gives to images.

    Args:
        rows: as `read_split_file` returns them.
        names: paths of the images; an entry means the image of that path, or else the only one of
            that file name, with or without ending.
        fold: the fold that is val; the other folds are train then. None takes `split` as it is.

    Raises:
        ConfigError: no row is of that fold.
        DataError: none of the listed images is there.
    """
    folds = sorted({row.fold for row in rows if row.fold is not None})
    if fold is not None and fold not in folds:
        there = f"its folds are {', '.join(map(str, folds))}" if folds else "it has no folds"
        raise ConfigError(f"data.fold={fold}: the split file has no such fold; {there}.")
    row_of = {row.file_name: row for row in rows}
    matched = match_listed(list(row_of), names)
    if names and not matched.listed_as:
        raise DataError(
            f"None of the {len(rows)} images in the split file was found: it lists "
            f"'{rows[0].file_name if rows else 'nothing'}', and the data has '{names[0]}'."
        )
    listed = {name: row_of[entry] for name, entry in matched.listed_as.items()}
    splits: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for image, name in enumerate(names):
        if name not in listed:
            continue
        row = listed[name]
        split = row.split
        if fold is not None and row.fold is not None:
            split = "val" if row.fold == fold else "train"
        splits[split].append(image)
    return ListedSplits(
        splits={split: images for split, images in splits.items() if images},
        rows=listed,
        missing=tuple(row_of[entry] for entry in matched.missing),
        unlisted=matched.unlisted,
    )
