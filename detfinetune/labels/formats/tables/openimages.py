"""OpenImages' box tables: `ImageID,LabelName,XMin,XMax,YMin,YMax`, in normalized coordinates.

The columns may stand in any order; `IsGroupOf` marks regions of many objects.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from detfinetune.labels.csv_text import CsvText, Row
from detfinetune.labels.formats.lines.tokens import is_number
from detfinetune.labels.formats.raw_labels import BadFile, Document
from detfinetune.labels.formats.tables.columns import Columns, columns_of_heading, squeeze
from detfinetune.labels.formats.tables.csv_table import whole_lines
from detfinetune.labels.formats.tables.rows import TableReader

_NEEDED = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
_IMAGE_LEVEL = frozenset({"imageid", "labelname", "confidence"})
_LARGEST = 1.5
"""Coordinates above this are in pixels; a box may reach out of its image a little."""


def detect_openimages(head: str) -> str:
    """Return by what a text is known as an OpenImages box table, or nothing.

    Args:
        head: the first 4,000 characters of a file, or all of it.
    """
    source = CsvText(whole_lines(head))
    try:
        columns = _columns(source)
    except BadFile:
        return ""
    for row in islice(source.rows(), 1, None):
        box = [row.cells[i].strip() for i in columns.box if i < len(row.cells)]
        if any(is_number(cell) and float(cell) > _LARGEST for cell in box):
            # The same names over pixels are a plain table.
            return ""
    return f"a heading with {', '.join(_NEEDED)}"


def parse_openimages(text: str) -> Document:
    """Read an OpenImages box table.

    Each row that is not blank becomes a label or a problem, but for rows of confidence 0: there
    the class was looked for and is not in the image. How many there are is a note.

    Raises:
        BadFile: columns are missing, or the table has labels of whole images and no boxes.
    """
    source = CsvText(text)
    document = TableReader(source, _columns(source)).read()
    document.normalized = True
    return document


def read_class_descriptions(text: str) -> dict[str, str]:
    """Return class names by id, of a table such as class-descriptions-boxable.csv.

    Rows are `/m/011k07,Tortoise`; a heading (`LabelName,DisplayName`) may stand above them.

    Raises:
        BadFile: a row has no id or no name, or an id is there twice with different names.
    """
    names: dict[str, str] = {}
    for index, row in enumerate(CsvText(text).rows()):
        if row.problem:
            raise BadFile(row.problem, row.line)
        identity, name = (cell.strip() for cell in (*row.cells, "", "")[:2])
        if index == 0 and squeeze(identity) in ("labelname", "labelid", "id", "mid"):
            continue
        if not identity or not name:
            raise BadFile(
                f"'{row.text}' is not a class id and its name, such as /m/0k4j,Car", row.line
            )
        if names.setdefault(identity, name) != name:
            raise BadFile(
                f"class {identity} is '{names[identity]}' above and '{name}' here", row.line
            )
    if not names:
        raise BadFile("the file is empty", 1)
    return names


def _columns(source: CsvText) -> Columns:
    """Return the columns; raises BadFile."""
    heading = next(source.rows(), Row(1, [], ""))
    found = {squeeze(name): index for index, name in reversed(list(enumerate(heading.cells)))}
    missing = [name for name in _NEEDED if name.lower() not in found]
    if missing and found.keys() >= _IMAGE_LEVEL:
        raise BadFile(
            "this table has labels of whole images and no boxes. Give the one whose name holds "
            "'bbox'",
            heading.line,
        )
    if missing:
        raise BadFile(f"columns {heading.text}: no {', '.join(missing)}", heading.line)
    return replace(
        columns_of_heading(heading, ()),
        image=found["imageid"],
        label=found["labelname"],
        box=tuple(found[side] for side in ("xmin", "ymin", "xmax", "ymax")),
        form="xyxy",
        confidence=found.get("confidence"),
        size=None,
        split=None,
    )
