"""From the rows of a table whose columns are known to a document."""

from __future__ import annotations

import math
import re
from collections import Counter
from contextlib import suppress
from itertools import islice

from detfinetune.collector import no_cycle_search
from detfinetune.labels.csv_text import CsvText
from detfinetune.labels.formats.json.json_values import clean, size_of
from detfinetune.labels.formats.lines.tokens import to_number
from detfinetune.labels.formats.raw_labels import (
    BadLabel,
    Document,
    Form,
    RawImage,
    RawLabel,
    RawProblem,
)
from detfinetune.labels.formats.tables.columns import Columns
from detfinetune.labels.formats.tables.geometry import Geometry, parse_geometry

_NO_VALUE = frozenset({"", "na", "n/a", "nan", "none", "null", "<na>"})
_NO_CLASS = _NO_VALUE | {"background", "empty", "negative", "no finding", "nothing"}
"""Classes that, where the box is empty too, say that an image has no objects."""

_TRUE = frozenset({"1", "1.0", "true", "yes"})
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
# Where commas divide cells, `"1,024"` may be a thousand and more.
_SURELY_DECIMAL = re.compile(r"[+-]?(0?,\d+|\d+,(?!\d{3}$)\d+)", re.ASCII)
_PARTS: dict[Form, tuple[str, str, str, str]] = {
    "xyxy": ("x1", "y1", "x2", "y2"),
    "xywh": ("x", "y", "the width", "the height"),
    "cxcywh": ("the centre's x", "the centre's y", "the width", "the height"),
}
_MOSTLY = 0.95
_ROOM = 1.01
"""How far a box may reach out of its image by a slip."""


class ImageIndex:
    """The images of a table by the name that its rows give."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._by_name: dict[str, RawImage] = {}

    def find(self, cell: str, line: int) -> RawImage:
        """Return the image that a cell names, a new one where it is named for the first time.

        Raises:
            BadLabel: the cell is blank.
        """
        name = clean(cell.strip().replace("\\", "/"))
        if not name:
            raise BadLabel("no image", "no image is named")
        if name not in self._by_name:
            self._by_name[name] = RawImage(name, line=line)
            self.document.images.append(self._by_name[name])
        return self._by_name[name]


class TableReader:
    """Reads rows one after the other into a document."""

    def __init__(self, source: CsvText, columns: Columns, has_heading: bool = True) -> None:
        self.source, self.columns, self.has_heading = source, columns, has_heading
        self.document = Document()
        self.images = ImageIndex(self.document)
        self.counts: Counter[str] = Counter()
        self.decimal_comma = _SURELY_DECIMAL if source.delimiter == "," else _DECIMAL_COMMA
        self.read_labels: list[tuple[RawImage, RawLabel, Form | None]] = []
        """Their corners hold the four numbers as written until all rows are read."""

    def read(self) -> Document:
        """Return the document of all rows."""
        with no_cycle_search():
            for row in islice(self.source.rows(), int(self.has_heading), None):
                image: RawImage | None = None
                try:
                    if row.problem:
                        unclosed = row.problem.startswith("a quote")
                        kind = "quote not closed" if unclosed else "unreadable row"
                        raise BadLabel(kind, row.problem)
                    cells = self._as_wide(row.cells)
                    if tuple(cells) == self.columns.heading:
                        self.counts["rows that repeat the heading, ignored"] += 1
                        continue
                    image = self.images.find(cells[self.columns.image], row.line)
                    label = self._label(image, cells)
                except BadLabel as bad:
                    problems = self.document.problems if image is None else image.problems
                    problems.append(RawProblem(row.line, bad.kind, str(bad), row.text))
                    continue
                if label is not None:
                    label.line, label.text = row.line, row.text
                    image.labels.append(label)
        self.document.normalized = self._normalized()
        four_numbers = self._form_of_four_numbers()
        for _, label, form in self.read_labels:
            _set_form(label, form or four_numbers)
        self.document.notes += self._notes()
        return self.document

    def _as_wide(self, cells: list[str]) -> list[str]:
        """Return as many cells as there are columns; further ones must be blank."""
        width = len(self.columns.heading)
        if len(cells) < width or any(map(str.strip, cells[width:])):
            kind = "too few columns" if len(cells) < width else "too many columns"
            where = "the heading" if self.has_heading else "the first row"
            raise BadLabel(
                kind, f"{len(cells)} value{'s' * (len(cells) != 1)} where {where} has {width}"
            )
        return cells[:width]

    def _label(self, image: RawImage, cells: list[str]) -> RawLabel | None:
        """Return the label of a row, or None where it says that there is no object."""
        columns = self.columns
        self._take_size_and_split(image, cells)
        if columns.confidence is not None and _is_zero(cells[columns.confidence]):
            self.counts["rows of confidence 0 (verified absent), which are not objects"] += 1
            return None
        token = clean(cells[columns.label].strip()) if columns.label is not None else ""
        no_class = token.lower() in _NO_CLASS
        if all(cells[i].strip().lower() in _NO_VALUE for i in columns.box) and (
            no_class or len(columns.box) == 1
        ):
            if not no_class:
                self.counts["rows with a class and no geometry, taken as without objects"] += 1
            return None
        geometry = self._geometry(cells)
        if geometry is None:
            return None
        if not token and columns.label is not None:
            raise BadLabel("no class", "the class is empty")
        self.counts["holes of polygons, ignored"] += geometry.holes
        polygons = geometry.polygons
        label = RawLabel(token, geometry.numbers, polygons, has_box=not polygons)
        self.read_labels.append((image, label, geometry.form or columns.form))
        if columns.crowd is not None:
            label.crowd = cells[columns.crowd].strip().lower() in _TRUE
        return label

    def _geometry(self, cells: list[str]) -> Geometry | None:
        box, form = self.columns.box, self.columns.form
        if len(box) == 1:
            geometry = parse_geometry(cells[box[0]])
        else:
            names = _PARTS[form or "xyxy"]
            a, b, c, d = (self._number(cells[i], n) for i, n in zip(box, names, strict=True))
            geometry = Geometry((a, b, c, d), form=form)
        if geometry and not math.isfinite(sum(map(abs, geometry.numbers))):
            raise BadLabel("not finite", "the box's numbers are too large")
        return geometry

    def _number(self, cell: str, name: str) -> float:
        """Return a cell as a finite float; a decimal comma is understood."""
        token = cell.strip()
        if not token:
            raise BadLabel("missing value", f"{name} is empty")
        if "," in token and self.decimal_comma.fullmatch(token):
            token = token.replace(",", ".")
        return to_number(token, name)

    def _take_size_and_split(self, image: RawImage, cells: list[str]) -> None:
        columns = self.columns
        if columns.size is not None and image.size is None:
            with suppress(BadLabel):
                width, height = (self._number(cells[i], "size") for i in columns.size)
                image.size = size_of(width, height)
        if columns.split is not None and (split := cells[columns.split].strip()):
            if image.split and image.split != split:
                self.counts["rows that put their image into another split than its first row"] += 1
            image.split = image.split or split

    def _normalized(self) -> bool:
        """Whether at least 95 % of the boxes lie between 0 and 1, and not all are whole numbers."""
        boxes = [label.xyxy for _, label, _ in self.read_labels]
        inside = [box for box in boxes if 0 <= min(box) <= max(box) <= 1]
        return len(inside) >= _MOSTLY * len(boxes) and any(v % 1 for box in inside for v in box)

    def _form_of_four_numbers(self) -> Form:
        """Return what four numbers in a cell are: xyxy needs order, xywh room in the image."""
        boxes = [(image, label.xyxy) for image, label, form in self.read_labels if form is None]
        if not boxes:
            return "xywh"
        disordered = outside = 0
        for image, (a, b, c, d) in boxes:
            disordered += c < a or d < b
            width, height = (1, 1) if self.document.normalized else image.size or (math.inf,) * 2
            outside += a + c > width * _ROOM or b + d > height * _ROOM
        is_xyxy = outside > disordered
        name = self.columns.heading[self.columns.box[0]].strip()
        taken, other = ("xyxy", "xywh") if is_xyxy else ("xywh", "xyxy")
        self.document.notes.append(
            f"the four numbers of column {name} were read as {taken}. Rename it to bbox_{other} if "
            f"they are {other}"
        )
        return "xyxy" if is_xyxy else "xywh"

    def _notes(self) -> list[str]:
        columns = self.columns
        notes = [f"{what}: {count}" for what, count in self.counts.items() if count]
        if columns.ignored:
            notes.append(f"columns ignored: {', '.join(columns.ignored)}")
        if columns.label is None:
            notes.append("there is no column for the class")
        if not self.has_heading:
            notes.append(f"read as {columns.evidence}")
        return notes


def _set_form(label: RawLabel, form: Form) -> None:
    """Turn the numbers as written into corners."""
    a, b, c, d = label.xyxy
    label.form = form
    if form == "xywh":
        label.xyxy = (a, b, a + c, b + d)
    elif form == "cxcywh":
        label.xyxy = (a - c / 2, b - d / 2, a + c / 2, b + d / 2)


def _is_zero(cell: str) -> bool:
    try:
        return float(cell) == 0
    except ValueError:
        return False
