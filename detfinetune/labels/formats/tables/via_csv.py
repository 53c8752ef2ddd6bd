"""VIA's CSV export (VGG Image Annotator 1 and 2): a region a row, its shape as JSON in a cell."""

from __future__ import annotations

import json
from typing import Any

from detfinetune.labels.csv_text import CsvText, Row
from detfinetune.labels.formats.json.json_values import shown
from detfinetune.labels.formats.json.via import shape_label
from detfinetune.labels.formats.json.via_classes import choose_class_attribute, class_in
from detfinetune.labels.formats.raw_labels import BadLabel, Document, RawProblem
from detfinetune.labels.formats.tables.columns import squeeze
from detfinetune.labels.formats.tables.rows import ImageIndex

_SHAPE, _ATTRIBUTES = "regionshapeattributes", "regionattributes"
_IMAGES = ("filename", "imagefilename")


def _heading(source: CsvText) -> list[str]:
    return list(map(squeeze, next(source.rows(), Row(1, [], "")).cells))


def is_via_heading(source: CsvText) -> bool:
    """Whether the first row is the heading of VIA's export."""
    names = _heading(source)
    return _SHAPE in names and any(name in names for name in _IMAGES)


def parse_via_rows(source: CsvText) -> Document:
    """Read the rows below VIA's heading; a row with an empty shape is an image without objects.

    Shapes and classes are read as in VIA's JSON.
    """
    heading = _heading(source)
    document = Document()
    images = ImageIndex(document)
    at_image = next(i for i, name in enumerate(heading) if name in _IMAGES)
    _, *rows = source.rows()
    regions = [_region(heading, row) for row in rows]
    attribute = choose_class_attribute(
        [region for region in regions if isinstance(region, dict)], document.notes
    )
    for row, region in zip(rows, regions, strict=True):
        image = None
        try:
            if at_image < len(row.cells):
                image = images.find(row.cells[at_image], row.line)
            if isinstance(region, BadLabel):
                raise region
            if region["shape_attributes"] and image is not None:
                token = class_in(region, attribute)
                label = shape_label(region["shape_attributes"], token, "region")
                label.line, label.text = row.line, row.text
                image.labels.append(label)
        except BadLabel as bad:
            problems = document.problems if image is None else image.problems
            problems.append(RawProblem(row.line, bad.kind, str(bad), row.text))
    return document


def _region(heading: list[str], row: Row) -> dict[str, Any] | BadLabel:
    """Return a row's region as VIA's JSON has it, or what is wrong with it."""
    if row.problem:
        return BadLabel("unreadable row", row.problem)
    if len(row.cells) != len(heading):
        kind = "too few columns" if len(row.cells) < len(heading) else "too many columns"
        return BadLabel(kind, f"{len(row.cells)} values where the heading has {len(heading)}")
    named = dict(zip(heading, row.cells, strict=True))
    try:
        return {
            "shape_attributes": _json(named[_SHAPE], "region_shape_attributes"),
            "region_attributes": _json(named.get(_ATTRIBUTES, ""), "region_attributes"),
        }
    except BadLabel as bad:
        return bad


def _json(cell: str, name: str) -> dict[str, Any]:
    if not cell.strip():
        return {}
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError) as error:
        raise BadLabel("not JSON", f"{name} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadLabel("not JSON", f"{name} is {shown(value)}, not an object")
    return value
