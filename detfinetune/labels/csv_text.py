"""CSV: the delimiter, rows with their lines, and what is wrong with a row.

Rows come from Python's `csv` module, each from one line of the text. So a row's line is known, and
a quote that is never closed spoils its own row and no other. Cells cannot hold line ends.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from detfinetune.errors import DataError, did_you_mean
from detfinetune.labels.text import read_text_file

SHOWN_CHARACTERS = 200
"""How much of a row is kept to be shown."""

_DELIMITERS = "\t;|,"
_SEP_LINE = re.compile(r"\s*sep=([,;\t|])\s*", re.IGNORECASE)
# `#filename,...` is a heading.
_SKIPPED = re.compile(r"#?[\s\0,;|]*|#\s.*")
_NAMES_OF_FILE_NAME = ("file_name", "filename", "image", "image_path")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    line: int
    """In the file, from 1."""

    cells: list[str]
    text: str
    """As written, its first characters."""

    problem: str = ""
    """Why the line cannot be read as a row; empty where it can."""


class CsvText:
    """A text as rows; the delimiter is the one that gives the first row the most cells.

    Blank lines and comments (`# ...`) above the first row, and Excel's `sep=;`, are skipped.
    """

    def __init__(self, text: str) -> None:
        text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        # Only real line ends count: str.splitlines would also split at form feeds and the like.
        self._lines = text.split("\n")
        delimiter = ""
        self._first = len(self._lines)
        for index, line in enumerate(self._lines):
            if told := _SEP_LINE.fullmatch(line):
                delimiter = told[1]
            elif not _SKIPPED.fullmatch(line):
                self._first = index
                delimiter = delimiter or max(_DELIMITERS, key=lambda mark: _width(line, mark))
                break
        self.delimiter = delimiter

    def rows(self) -> Iterator[Row]:
        """Yield every row that is not blank, the heading first where there is one."""
        for line, text in enumerate(self._lines[self._first :], start=self._first + 1):
            if not text or text.isspace():
                continue
            shown = text[:SHOWN_CHARACTERS]
            try:
                cells = _cells(text, self.delimiter)
            except csv.Error as error:
                yield Row(line, [], shown, _reason(error))
                continue
            if any(map(str.strip, cells)):
                yield Row(line, cells, shown)


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True), [])


def _width(line: str, delimiter: str) -> int:
    try:
        return len(_cells(line, delimiter))
    except csv.Error:
        return 0


def _reason(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return (
            "a quote opens here that is not closed on this line. Close it, and write a quote "
            "inside a cell twice"
        )
    return f"this row cannot be read ({error})"


@dataclass(frozen=True)
class ImageRow:
    """One line of a table of images."""

    line: int
    """In the file, from 1."""

    file_name: str
    """With forward slashes and without `./` before it."""

    cells: dict[str, str]
    """By column, without spaces around them."""


def read_image_rows(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    others_allowed: bool = False,
) -> Iterator[ImageRow]:
    """Yield the rows of a CSV file that lists images and whose heading names the columns.

    The column of file names may also be called `filename`, `image` or `image_path`.

    Args:
        path: the file.
        required: columns that must be there, `file_name` first.
        optional: columns that may be there.
        others_allowed: whether further columns are ignored instead of refused.

    Raises:
        DataError: the file cannot be read, or a line is not what it should be.
    """
    heading: list[str] | None = None
    rows = CsvText(read_text_file(path).text).rows()
    for row in chain([next(rows, Row(1, [], ""))], rows):
        where = f"{path}:{row.line}"
        if row.problem:
            raise DataError(f"{where}: {row.problem}.")
        if heading is None:
            heading = [cell.strip() for cell in row.cells]
            columns = _columns(where, heading, required, optional, others_allowed)
            continue
        if len(row.cells) != len(columns):
            raise DataError(
                f"{where}: {len(row.cells)} cells, and the heading has {len(columns)} "
                f"({','.join(heading)})."
            )
        values = dict(zip(columns, row.cells, strict=True))
        name = values.pop("file_name").replace("\\", "/").removeprefix("./")
        if not name:
            raise DataError(f"{where}: the file name is empty.")
        yield ImageRow(row.line, name, {c: cell.strip() for c, cell in values.items()})


def _columns(
    where: str,
    heading: list[str],
    required: Sequence[str],
    optional: Sequence[str],
    others_allowed: bool,
) -> list[str]:
    """Return the columns by the names that are known here."""
    known = [*required, *optional]
    wanted = f"The first line should name the columns: {','.join(known)}"
    wanted += f" ({', '.join(required)} are required)." if optional else "."
    lowered = [name if name in known else name.lower() for name in heading]
    columns = ["file_name" if name in _NAMES_OF_FILE_NAME else name for name in lowered]
    for name in required:
        if name not in columns:
            hint = did_you_mean(name, heading)
            raise DataError(f"{where}: there is no column '{name}'.{hint} {wanted}")
    for name, column in zip(heading, columns, strict=True):
        if column not in known and not others_allowed:
            raise DataError(
                f"{where}: unknown column '{name}'.{did_you_mean(name, known)} {wanted}"
            )
        if columns.count(column) > 1 and column in known:
            raise DataError(f"{where}: column '{column}' is there twice. {wanted}")
    return columns
