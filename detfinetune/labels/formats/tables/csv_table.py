"""Plain CSV: one object a row, the columns in any order, with a heading or without one.

Read are tables such as `filename,width,height,class,xmin,ymin,xmax,ymax` (what many converters for
TensorFlow write), `image_id,geometry,class` and `image_id,width,height,bbox,source` with a whole
geometry in one cell (Kaggle), `Filename;Width;Height;Roi.X1;...` (GTSRB), `path,x1,y1,x2,y2,class`
without a heading (keras-retinanet; `path,,,,,` is an image without objects), and VIA's CSV export.
"""

from __future__ import annotations

from detfinetune.labels.csv_text import CsvText
from detfinetune.labels.formats.raw_labels import BadFile, Document
from detfinetune.labels.formats.tables.columns import find_columns
from detfinetune.labels.formats.tables.rows import TableReader
from detfinetune.labels.formats.tables.via_csv import is_via_heading, parse_via_rows

HEAD_CHARACTERS = 4000
"""How much of a file a format is detected by."""


def whole_lines(head: str) -> str:
    """Return the beginning of a file without a last line that may be cut."""
    return head if len(head) < HEAD_CHARACTERS else head[:HEAD_CHARACTERS].rpartition("\n")[0]


def detect_csv(head: str) -> str:
    """Return by what a text is known as a table of boxes, or nothing.

    Args:
        head: the first 4,000 characters of a file, or all of it.
    """
    source = CsvText(whole_lines(head))
    if is_via_heading(source):
        return "a heading with region_shape_attributes"
    try:
        return find_columns(source)[0].evidence
    except BadFile:
        return ""


def parse_csv(text: str) -> Document:
    """Read a table of boxes or polygons.

    Each row that is not blank becomes a label, a problem, or an image without objects: one whose
    box is empty and whose class is, too (or says so, such as `background`).

    Raises:
        BadFile: the text is no such table; names the columns found and those that are missing.
    """
    source = CsvText(text)
    if is_via_heading(source):
        return parse_via_rows(source)
    columns, has_heading = find_columns(source)
    return TableReader(source, columns, has_heading).read()
