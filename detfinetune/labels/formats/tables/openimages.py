"""OpenImages' box tables: `ImageID,LabelName,XMin,XMax,YMin,YMax`, shares of the image's size.

The columns may stand in any order; `IsGroupOf` marks regions of many objects. Decimal commas in
quotes, as spreadsheets of some countries write them, are read as decimal points.
"""

from __future__ import annotations

import csv
from dataclasses import replace

from detfinetune.labels.formats.raw_labels import BadFile, BadLabel, Document
from detfinetune.labels.formats.tables.columns import (
    Columns,
    columns_of_heading,
    known_names,
    squeeze,
)
from detfinetune.labels.formats.tables.delimited import HEAD_CHARACTERS, DelimitedText, open_text
from detfinetune.labels.formats.tables.rows import TableReader

_NEEDED = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")
_IMAGE_LEVEL = frozenset({"imageid", "labelname", "confidence"})
_LARGEST = 1.5
"""Shares above this are none; a box may reach out of its image by a slip."""

_SHOWN_ROWS = 20


def detect_openimages(head: str) -> str:
    """Return by what a text is known as an OpenImages box table, or nothing.

    Args:
        head: the first 4,000 characters of a file, or all of it.
    """
    if len(head) >= HEAD_CHARACTERS:
        # The last line may be cut.
        head = head[:HEAD_CHARACTERS].rpartition("\n")[0]
    try:
        source, columns = _open(head)
    except BadFile:
        return ""
    for _, cells, _ in source.rows(source.first + 1, columns.width):
        if len(cells) != columns.width:
            continue
        try:
            if any(source.number(cells[i], "share") > _LARGEST for i in columns.box):
                # The same names over pixels are a plain table.
                return ""
        except BadLabel:
            continue
    return f"a heading with {', '.join(_NEEDED)}"


def parse_openimages(text: str) -> Document:
    """Read an OpenImages box table.

    Each row that is not blank becomes a label or a problem, but for rows of confidence 0: there
    the class was looked for and is not in the image. How many there are is a note.

    Raises:
        BadFile: columns are missing, or the table has labels of whole images and no boxes.
    """
    source, columns = _open(text)
    document = TableReader(source, columns).read(source.first + 1)
    document.normalized = True
    return document


def read_class_descriptions(text: str) -> dict[str, str]:
    """Return class names by id, of a table such as class-descriptions-boxable.csv.

    Rows are `/m/011k07,Tortoise`; a heading (`LabelName,DisplayName`) may stand above them.

    Raises:
        BadFile: a row has no id or no name, or an id is there twice with different names.
    """
    source = open_text(text, known_names)
    names: dict[str, str] = {}
    for line, cells, shown in source.rows(source.first, 2):
        identity, name = (cells[0].strip(), cells[1].strip()) if len(cells) > 1 else ("", "")
        if line == source.first + 1 and squeeze(identity) in ("labelname", "labelid", "id", "mid"):
            continue
        if not identity or not name:
            raise BadFile(f"'{shown}' is not a class id and its name, such as /m/0k4j,Car", line)
        if names.setdefault(identity, name) != name:
            raise BadFile(f"class {identity} is '{names[identity]}' above and '{name}' here", line)
    if source.problems:
        raise BadFile(source.problems[0].reason, source.problems[0].line)
    return names


def _open(text: str) -> tuple[DelimitedText, Columns]:
    """Return the text and its columns; raises BadFile."""
    source = open_text(text, known_names)
    line = source.lines[source.first]
    try:
        heading = next(csv.reader([line], delimiter=source.delimiter), [])
    except csv.Error as error:
        raise BadFile(f"the heading cannot be read ({error})", source.first + 1) from error
    found = {squeeze(name): index for index, name in reversed(list(enumerate(heading)))}
    missing = [name for name in _NEEDED if name.lower() not in found]
    if missing and found.keys() >= _IMAGE_LEVEL:
        raise BadFile(
            "this table has labels of whole images and no boxes; give the one whose name holds "
            "'bbox'",
            source.first + 1,
        )
    if missing:
        shown = ", ".join(name.strip() for name in heading[:_SHOWN_ROWS])
        raise BadFile(
            f"the heading has the columns {shown}; missing: {', '.join(missing)}. Rename the "
            "columns in the heading.",
            source.first + 1,
        )
    image, label, *_ = (found[name.lower()] for name in _NEEDED)
    columns = columns_of_heading(heading, source.first + 1)
    box = tuple(found[side] for side in ("xmin", "ymin", "xmax", "ymax"))
    used = {image, label, *box, columns.crowd, found.get("confidence")}
    return source, replace(
        columns,
        image=image,
        label=label,
        box=box,
        form="corners",
        crowd=found.get("isgroupof"),
        confidence=found.get("confidence"),
        size=None,
        split=None,
        passed_over=tuple(n.strip() for i, n in enumerate(heading) if i not in used and n.strip()),
    )
