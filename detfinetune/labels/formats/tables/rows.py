"""From the rows of a table whose columns are known to a document."""

from __future__ import annotations

import math
from collections import Counter

from detfinetune.collector import no_cycle_search
from detfinetune.labels.formats.json.json_values import clean, size_of
from detfinetune.labels.formats.lines.tokens import to_number, tokenize
from detfinetune.labels.formats.raw_labels import BadLabel, Document, Form, RawImage, RawLabel
from detfinetune.labels.formats.tables.columns import Columns
from detfinetune.labels.formats.tables.delimited import (
    DelimitedText,
    FractionCount,
    is_empty,
    problem_of,
)

Numbers = tuple[float, float, float, float]

_NO_CLASS = frozenset({"background", "empty", "negative", "no finding", "nothing"})
"""Classes that, where the box is empty too, say that an image has no objects."""

_TRUE = frozenset({"1", "1.0", "true", "yes"})
_PARTS: dict[Form, tuple[str, str, str, str]] = {
    "corners": ("x1", "y1", "x2", "y2"),
    "top_left_and_size": ("x", "y", "the width", "the height"),
    "centre_and_size": ("the centre's x", "the centre's y", "the width", "the height"),
}


class ImageIndex:
    """The images of a table by the name that its rows give."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.as_written: dict[str, RawImage] = {}
        self.by_name: dict[str, RawImage] = {}

    def find(self, cell: str, line: int) -> RawImage:
        """Return the image that a cell names, a new one where it is named for the first time.

        Raises:
            BadLabel: the cell is blank.
        """
        name = clean(cell.strip().replace("\\", "/"))
        if not name:
            raise BadLabel("no image", "no image is named")
        image = self.by_name.get(name)
        if image is None:
            image = self.by_name[name] = RawImage(name, line=line)
            self.document.images.append(image)
        self.as_written[cell] = image
        return image


class TableReader:
    """Reads rows one after the other into a document."""

    def __init__(self, source: DelimitedText, columns: Columns) -> None:
        self.source, self.columns = source, columns
        self.document = Document(problems=source.problems)
        self.images = ImageIndex(self.document)
        self.counted = FractionCount()
        self.counts: Counter[str] = Counter()
        self.heading = list(columns.heading)
        self.size_of: dict[str, tuple[str, str]] = {}
        # What few tables have is asked for once, not with every row.
        self.has_more = any(
            column is not None for column in (columns.size, columns.split, columns.confidence)
        )

    def read(self, first: int) -> Document:
        """Return the document of all rows from line index `first` on."""
        with no_cycle_search():
            self._read(first)
        self.document.normalized = self.counted.normalized
        self.document.notes += self._notes()
        return self.document

    def _read(self, first: int) -> None:
        for line, cells, text in self.source.rows(first, self.columns.width):
            image: RawImage | None = None
            try:
                if len(cells) != self.columns.width:
                    cells = self._as_wide(cells)
                elif cells == self.heading:
                    self.counts["rows that repeat the heading, passed over"] += 1
                    continue
                cell = cells[self.columns.image]
                image = self.images.as_written.get(cell) or self.images.find(cell, line)
                label = self._label(image, cells)
            except BadLabel as bad:
                problems = self.document.problems if image is None else image.problems
                problems.append(problem_of(bad, line, text))
                continue
            if label is not None:
                label.line, label.text = line, text
                image.labels.append(label)

    def _as_wide(self, cells: list[str]) -> list[str]:
        """Return the cells of a row that is too long only by blank ones."""
        width = self.columns.width
        if len(cells) > width and not any(map(str.strip, cells[width:])):
            return cells[:width]
        few_or_many = "too few columns" if len(cells) < width else "too many columns"
        where = "the heading has" if self.heading else "the other rows have"
        raise BadLabel(
            few_or_many, f"{len(cells)} value{'s' * (len(cells) != 1)} where {where} {width}"
        )

    def _label(self, image: RawImage, cells: list[str]) -> RawLabel | None:
        """Return the label of a row, or None where it says that there is no object."""
        columns = self.columns
        if self.has_more and not self._take_more(image, cells):
            return None
        token = clean(cells[columns.label].strip()) if columns.label is not None else ""
        try:
            a, b, c, d = self._numbers(cells)
        except BadLabel:
            if all(is_empty(cells[i]) for i in columns.box) and (
                is_empty(token) or token.lower() in _NO_CLASS
            ):
                return None
            raise
        if not token and columns.label is not None:
            raise BadLabel("no class", "the class is empty")
        self.counted.add(a, b, c, d)
        if columns.form == "corners":
            label = RawLabel(token, (a, b, c, d))
        elif columns.form == "top_left_and_size":
            label = RawLabel(token, (a, b, a + c, b + d), form=columns.form)
        else:
            corners = (a - c / 2, b - d / 2, a + c / 2, b + d / 2)
            label = RawLabel(token, corners, form=columns.form)
        if columns.crowd is not None:
            label.crowd = cells[columns.crowd].strip().lower() in _TRUE
        return label

    def _numbers(self, cells: list[str]) -> Numbers:
        """Return the four numbers of the box; raises BadLabel."""
        box = self.columns.box
        names = _PARTS[self.columns.form]
        if len(box) == 1:
            tokens = tokenize(cells[box[0]])
            if len(tokens) != len(names):
                kind = "missing value" if not tokens else "wrong number of values"
                raise BadLabel(kind, f"the box has {len(tokens)} values instead of 4")
            a, b, c, d = (to_number(t, name) for t, name in zip(tokens, names, strict=True))
        else:
            i, j, k, m = box
            texts = cells[i], cells[j], cells[k], cells[m]
            try:
                a, b, c, d = map(float, texts)
                # Python's own numbers may hold underscores, infinities and NaN.
                plain = math.isfinite(a + b + c + d) and "_" not in "".join(texts)
            except ValueError:
                plain = False
            if plain:
                return a, b, c, d
            a, b, c, d = (self.source.number(t, n) for t, n in zip(texts, names, strict=True))
        if not math.isfinite(abs(a) + abs(b) + abs(c) + abs(d)):
            raise BadLabel("not finite", "the box's numbers are too large")
        return a, b, c, d

    def _take_more(self, image: RawImage, cells: list[str]) -> bool:
        """Take an image's size and split from a row; return whether the row holds an object."""
        columns = self.columns
        if columns.size is not None:
            size = cells[columns.size[0]], cells[columns.size[1]]
            if image.name not in self.size_of:
                self.size_of[image.name] = size
                image.size = self._size(size)
            elif self.size_of[image.name] != size:
                self.counts["rows that give their image another size than its first row"] += 1
        if columns.split is not None and (split := cells[columns.split].strip()):
            if image.split and image.split != split:
                self.counts["rows that put their image into another split than its first row"] += 1
            image.split = image.split or split
        if columns.confidence is not None and _is_zero(cells[columns.confidence]):
            self.counts["rows of confidence 0 (verified absent), which are no objects"] += 1
            return False
        return True

    def _size(self, cells: tuple[str, str]) -> tuple[int, int] | None:
        try:
            width, height = (self.source.number(cell, "size") for cell in cells)
        except BadLabel:
            width = height = 0.0
        size = size_of(width, height)
        if size is None:
            self.counts["images whose size is not one in pixels"] += 1
        return size

    def _notes(self) -> list[str]:
        columns = self.columns
        notes = [f"{what}: {count}" for what, count in self.counts.items()]
        if columns.passed_over:
            notes.append(f"columns passed over: {', '.join(columns.passed_over)}")
        if columns.label is None:
            notes.append("there is no column for the class")
        if len(columns.box) == 1 and columns.form == "top_left_and_size":
            name = columns.heading[columns.box[0]].strip()
            notes.append(
                f"column {name} was read as [x, y, width, height]; name it bbox_xyxy if it "
                "holds corners"
            )
        if not columns.heading:
            notes.append(f"read as {columns.evidence}")
        return notes


def _is_zero(cell: str) -> bool:
    try:
        return float(cell) == 0
    except ValueError:
        return False
