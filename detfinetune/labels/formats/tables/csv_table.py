"""Plain CSV: one object a row, the columns in any order, with a heading or without one.

Read are tables such as `filename,width,height,class,xmin,ymin,xmax,ymax` (what many converters for
TensorFlow write), `image_id,width,height,bbox,source` with `"[x, y, w, h]"` in one cell (Kaggle's
wheat heads), `Filename;Width;Height;Roi.X1;...` (GTSRB), `path,x1,y1,x2,y2,class` without a heading
(keras-retinanet; `path,,,,,` is an image without objects), and VIA's CSV export.
"""

from __future__ import annotations

import csv

from detfinetune.labels.formats.raw_labels import BadFile, Document
from detfinetune.labels.formats.tables.columns import (
    Columns,
    columns_of_heading,
    columns_of_values,
    known_names,
    looks_like_heading,
)
from detfinetune.labels.formats.tables.delimited import (
    DELIMITERS,
    HEAD_CHARACTERS,
    DelimitedText,
    open_text,
)
from detfinetune.labels.formats.tables.rows import TableReader
from detfinetune.labels.formats.tables.via_csv import is_via_heading, parse_via_rows


def detect_csv(head: str) -> str:
    """Return by what a text is known as a table of boxes, or nothing.

    Args:
        head: the first 4,000 characters of a file, or all of it.
    """
    if len(head) >= HEAD_CHARACTERS:
        # The last line may be cut.
        head = head[:HEAD_CHARACTERS].rpartition("\n")[0]
    try:
        source = open_text(head, known_names)
        if is_via_heading(_first_row(source, source.first)):
            return "a heading with region_shape_attributes"
        return _find_columns(source, strict=True)[0].evidence
    except BadFile:
        return ""


def parse_csv(text: str) -> Document:
    """Read a table of boxes.

    Each row that is not blank becomes a label, a problem, or an image without objects: one whose
    box is empty and whose class is, too (or says so, such as `background`).

    Raises:
        BadFile: the text is no such table; names the columns found and those that are missing.
    """
    source = open_text(text, known_names)
    if is_via_heading(_first_row(source, source.first)):
        return parse_via_rows(source)
    columns, first, notes = _find_columns(source)
    document = TableReader(source, columns).read(first)
    document.notes[:0] = notes
    return document


def _find_columns(source: DelimitedText, *, strict: bool = False) -> tuple[Columns, int, list[str]]:
    """Return the columns, the index of the first line of data, and notes."""
    first = source.first
    for index in range(first, len(source.lines)):
        line = source.lines[index]
        if line.strip() and (not line.startswith("#") or known_names(_first_row(source, index))):
            first = index
            break
    notes = [f"lines 1 to {first}: comments, passed over"] if first > source.first else []
    heading = _first_row(source, first)
    if looks_like_heading(heading):
        return columns_of_heading(heading, first + 1), first + 1, notes
    rows = [[source.plain(cell) for cell in row] for row in source.sample(first)]
    columns = columns_of_values(rows, strict=strict)
    if columns is None:
        raise BadFile(
            f"no table of boxes: cut at {DELIMITERS[source.delimiter]}, its first row has "
            f"{len(heading)} value{'s' * (len(heading) != 1)}, and there is neither a heading "
            "(such as filename,xmin,ymin,xmax,ymax,class) nor four columns of numbers together "
            "beside an image's name",
            first + 1,
        )
    return columns, first, notes


def _first_row(source: DelimitedText, index: int) -> list[str]:
    try:
        return next(csv.reader(source.lines[index : index + 1], delimiter=source.delimiter), [])
    except csv.Error as error:
        raise BadFile(f"the first row cannot be read ({error})", index + 1) from error
