"""CSV files that list images: a heading, a line for each, and errors that name file and line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from detfinetune.errors import DataError, did_you_mean
from detfinetune.labels.text import read_text_file

_NAMES_OF_FILE_NAME = ("file_name", "filename", "image", "image_path")


@dataclass(frozen=True)
class CsvRow:
    """One line of a table of images."""

    line: int
    """In the file, from 1."""

    file_name: str
    """With forward slashes and without `./` before it."""

    cells: dict[str, str]
    """By column, without spaces around them."""


def read_csv_rows(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    others_allowed: bool = False,
) -> Iterator[CsvRow]:
    """Yield the rows of a CSV file whose heading names the columns; blank lines are passed over.

    Commas, semicolons or tabs separate cells. The file name's column may also be headed
    `filename`, `image` or `image_path`.

    Args:
        path: the file.
        required: columns that must be there, `file_name` first.
        optional: columns that may be there.
        others_allowed: whether further columns are passed over instead of refused.

    Raises:
        DataError: the file cannot be read, or a line is not what it should be.
    """
    lines = read_text_file(path).lines
    first = lines[0] if lines else ""
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        heading = [cell.strip() for cell in next(reader, [])]
        columns = _columns(path, heading, required, optional, others_allowed)
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(columns):
                raise DataError(
                    f"{path}:{reader.line_num}: {len(cells)} cells, and the heading has "
                    f"{len(columns)} ({','.join(heading)})."
                )
            values = dict(zip(columns, cells, strict=True))
            name = values.pop("file_name").replace("\\", "/").removeprefix("./")
            if not name:
                raise DataError(f"{path}:{reader.line_num}: the file name is empty.")
            stripped = {column: value.strip() for column, value in values.items()}
            yield CsvRow(reader.line_num, name, stripped)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: cannot be read as CSV: {error}.") from error


def _columns(
    path: Path,
    heading: list[str],
    required: Sequence[str],
    optional: Sequence[str],
    others_allowed: bool,
) -> list[str]:
    """Return the columns by the names that are known here."""
    known = [*required, *optional]
    wanted = f"The first line should name the columns: {','.join(known)}"
    wanted += f" ({', '.join(required)} must be there)." if optional else "."
    lowered = [name if name in known else name.lower() for name in heading]
    columns = ["file_name" if name in _NAMES_OF_FILE_NAME else name for name in lowered]
    for name in required:
        if name not in columns:
            raise DataError(
                f"{path}:1: there is no column '{name}'.{did_you_mean(name, heading)} {wanted}"
            )
    for name, column in zip(heading, columns, strict=True):
        if column not in known and not others_allowed:
            raise DataError(
                f"{path}:1: unknown column '{name}'.{did_you_mean(name, known)} {wanted}"
            )
        if columns.count(column) > 1 and column in known:
            raise DataError(f"{path}:1: column '{column}' is there twice. {wanted}")
    return columns
