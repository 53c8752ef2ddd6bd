"""VIA's CSV export (VGG Image Annotator 1 and 2): a region a row, its shape as JSON in a cell."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from typing import Any

from detfinetune.labels.formats.json.json_values import shown
from detfinetune.labels.formats.json.via import shape_label
from detfinetune.labels.formats.json.via_classes import choose_class_attribute, class_in
from detfinetune.labels.formats.raw_labels import BadLabel, Document
from detfinetune.labels.formats.tables.columns import squeeze
from detfinetune.labels.formats.tables.delimited import DelimitedText, Row, problem_of
from detfinetune.labels.formats.tables.rows import ImageIndex

_SHAPE, _ATTRIBUTES = "regionshapeattributes", "regionattributes"
_IMAGES = ("filename", "imagefilename")


def is_via_heading(heading: Sequence[str]) -> bool:
    """Whether a heading is that of VIA's export."""
    names = set(map(squeeze, heading))
    return _SHAPE in names and not names.isdisjoint(_IMAGES)


def parse_via_rows(source: DelimitedText) -> Document:
    """Read the rows below VIA's heading; a row with an empty shape is an image without objects.

    Shapes and classes are read as in VIA's JSON.
    """
    line = source.lines[source.first]
    heading = list(map(squeeze, next(csv.reader([line], delimiter=source.delimiter))))
    document = Document(problems=source.problems)
    rows = []
    for row in source.rows(source.first + 1, len(heading)):
        region: dict[str, Any] | BadLabel
        try:
            region = _region(heading, row[1])
        except BadLabel as bad:
            region = bad
        rows.append((row, region))
    regions = [region for _, region in rows if isinstance(region, dict)]
    attribute = choose_class_attribute(regions, document.notes)
    images = ImageIndex(document)
    at_image = next(i for i, name in enumerate(heading) if name in _IMAGES)
    for row, region in rows:
        _take(row, region, attribute, at_image, images)
    return document


def _take(
    row: Row,
    region: dict[str, Any] | BadLabel,
    attribute: str | None,
    at_image: int,
    images: ImageIndex,
) -> None:
    """Put what a row says into its image."""
    line, cells, text = row
    image = None
    try:
        if at_image < len(cells):
            image = images.find(cells[at_image], line)
        if isinstance(region, BadLabel):
            raise region
        if region["shape_attributes"] and image is not None:
            token = class_in(region, attribute)
            label = shape_label(region["shape_attributes"], token, "region")
            label.line, label.text = line, text
            image.labels.append(label)
    except BadLabel as bad:
        problems = images.document.problems if image is None else image.problems
        problems.append(problem_of(bad, line, text))


def _region(heading: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """Return a row's region as VIA's JSON has it; raises BadLabel."""
    if len(cells) != len(heading):
        few_or_many = "too few columns" if len(cells) < len(heading) else "too many columns"
        raise BadLabel(few_or_many, f"{len(cells)} values where the heading has {len(heading)}")
    named = dict(zip(heading, cells, strict=True))
    return {
        "shape_attributes": _json(named[_SHAPE], "region_shape_attributes"),
        "region_attributes": _json(named.get(_ATTRIBUTES, ""), "region_attributes"),
    }


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
