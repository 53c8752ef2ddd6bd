"""The schema of labels: format, columns and units, auto-detected or configured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from detfinetune.config.schema import DEFAULT_COLUMNS
from detfinetune.labels.discovery.class_names import ClassIndex
from detfinetune.labels.formats.lines.dota import detect_dota, is_dota_header, parse_dota_line
from detfinetune.labels.formats.lines.tokens import is_comment, is_heading, is_number, tokenize
from detfinetune.labels.formats.lines.txt import parse_columns, parse_txt_line
from detfinetune.labels.formats.lines.yolo import parse_yolo_line
from detfinetune.labels.formats.raw_labels import BadLabel, Form, RawLabel, RawProblem
from detfinetune.labels.formats.registry import DOCUMENT_FORMATS, LINE_FORMATS
from detfinetune.labels.parsing.box_rules import CheckedShape, check_box, check_polygons
from detfinetune.labels.text import TextFile

if TYPE_CHECKING:
    # Every process that reads labels would take a third longer to start for it.
    from detfinetune.config.schema import DataConfig

T = TypeVar("T")

_SAMPLE = 1000
_MOSTLY = 0.5
_FORMS = (
    "x1,y1,x2,y2", "x,y,w,h", "cx,cy,w,h", "y1,x1,y2,x2", "x1,x2,y1,y2",
)  # fmt: skip


_FROM_ONE: dict[Form, tuple[float, float]] = {
    "xyxy": (1.0, 0.0),
    "xywh": (1.0, 1.0),
    "cxcywh": (0.5, 0.5),
}
"""Offsets of the first and the last edge of a box whose pixels are counted from 1."""


@dataclass(slots=True)
class FileObjects:
    """The objects of one image in a label file; each is a label or a problem."""

    labels: list[RawLabel]
    problems: list[RawProblem]
    blank: int = 0
    """Lines without an object: empty, comments, headers."""

    size: tuple[int, int] | None = None
    """Width and height of the image as the file states them."""

    tally: Counter[str] = field(default_factory=Counter)
    """What the file holds that was ignored or read in another way, with its count."""

    note: str = ""
    """How the file was decoded, if its encoding had to be guessed."""


@dataclass(frozen=True)
class LabelSchema:
    """How to read the labels of a data set."""

    format: str
    """Name of the format, as `data.format` takes it."""

    columns: tuple[str, ...]
    """Columns of a txt line."""

    normalized: bool
    """Whether coordinates are relative to the image's width and height (0-1), not pixels."""

    first_pixel: int
    """0: coordinates are distances from the image's edge; 1: pixel indices from 1."""

    evidence: str = ""
    """How the schema was detected, for the user."""

    def parse(self, line: str) -> RawLabel:
        """Parse one line in its own units; raises BadLabel."""
        if self.format == "yolo":
            return parse_yolo_line(line)
        if self.format == "dota":
            return parse_dota_line(line)
        return parse_txt_line(line, self.columns)

    def read(self, file: TextFile) -> FileObjects:
        """Read the label file of one image.

        Raises:
            BadFile: it cannot be read at all.
        """
        if self.format in LINE_FORMATS:
            return self._read_lines(file.lines)
        document = DOCUMENT_FORMATS[self.format].parse(file.text)
        images = document.images
        return FileObjects(
            [label for image in images for label in image.labels],
            [problem for image in images for problem in image.problems],
            size=images[0].size if len(images) == 1 else None,
            tally=document.tally,
        )

    def _read_lines(self, lines: Sequence[str]) -> FileObjects:
        found = FileObjects([], [])
        for number, line in enumerate(lines, start=1):
            if self.is_not_an_object(line, first=not (found.labels or found.problems)):
                found.blank += 1
                continue
            try:
                label = self.parse(line)
            except BadLabel as problem:
                found.problems.append(RawProblem(number, problem.kind, str(problem), line))
                continue
            label.line, label.text = number, line
            found.labels.append(label)
        return found

    def is_not_an_object(self, line: str, *, first: bool) -> bool:
        """Whether a line is blank, a comment or, before the first object, a header."""
        if is_comment(line):
            return True
        if not first or line[0] in "0123456789.":
            return False
        return is_dota_header(line) if self.format == "dota" else is_heading(line)

    def to_pixels(
        self, labels: Sequence[RawLabel], sizes: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return x1, y1, x2, y2 of labels, (labels, 4), in pixels of images of `sizes`."""
        xyxy = np.array([label.xyxy for label in labels], dtype=np.float64).reshape(-1, 4)
        if self.normalized:
            return xyxy * np.tile(sizes, 2)
        if self.first_pixel:
            # Pixel p, counted from 1, spans p - 1 to p. xyxy names the first and the last pixel
            # inside; a centre lies in the middle of its pixel. A mask has no coordinates.
            offsets = [
                _FROM_ONE[label.form] if label.has_box or label.polygons else (0.0, 0.0)
                for label in labels
            ]
            shift = np.array(offsets, dtype=np.float64).reshape(-1, 2)
            return xyxy - shift.repeat(2, axis=1)
        return xyxy

    def shape(self, raw: RawLabel, width: int, height: int) -> CheckedShape:
        """Return the shape in pixels, inside the image; raises BadLabel."""
        box = self.to_pixels([raw], np.array([[width, height]], dtype=np.float64))[0].tolist()
        sized = raw.form != "xyxy"
        if raw.polygons:
            scale = (width, height) if self.normalized else (1, 1)
            shift = float(self.first_pixel) if not self.normalized else 0.0
            polygons = [
                tuple(value * scale[i % 2] - shift for i, value in enumerate(polygon))
                for polygon in raw.polygons
            ]
            given = box if raw.has_box else None
            return check_polygons(polygons, width, height, given, sized=sized)
        return check_box(box, width, height, sized=sized)

    @property
    def as_options(self) -> str:
        """The configuration keys that select this schema."""
        if self.format != "txt":
            return f"data.format={self.format}"
        unit = "normalized" if self.normalized else "absolute"
        return f"data.format=txt data.columns={','.join(self.columns)} data.coordinates={unit}"


def choose_schema(data: DataConfig, lines: Sequence[str]) -> LabelSchema:
    """Return the schema of the configuration, with `auto` detected from the lines.

    `auto` means YOLO if most lines have 5 values (or an odd number from 7 on) between 0 and 1 and
    `data.columns` is the default, unless they only make sense as xyxy; else txt.
    """
    columns = parse_columns(data.columns)
    sample = _sample([tokenize(line, len(columns)) for line in lines])
    normalized = _share(sample, _has_normalized) > _MOSTLY
    shaped = _share(
        sample, lambda tokens: len(tokens) == 5 or (len(tokens) > 6 and len(tokens) % 2 == 1)
    )
    as_yolo = LabelSchema("yolo", (), True, 0, "data.format=yolo")
    if data.format == "dota":
        return LabelSchema("dota", (), False, data.first_pixel, "data.format=dota")
    is_default = data.format == "auto" and columns == parse_columns(DEFAULT_COLUMNS)
    if is_default and (evidence := detect_dota(lines)):
        return LabelSchema("dota", (), False, data.first_pixel, evidence)
    unit = data.coordinates
    as_txt = LabelSchema(
        "txt",
        columns,
        unit == "normalized" or (unit == "auto" and normalized),
        data.first_pixel,
        "data.format=txt" if data.format == "txt" else f"columns {','.join(columns)}",
    )
    shown = "values between 0 and 1" if normalized else "values above 1"
    if data.format == "yolo":
        return as_yolo
    if (
        data.format == "auto"
        and normalized
        and shaped > _MOSTLY
        and (data.columns == DEFAULT_COLUMNS and unit != "absolute")
    ):
        xyxy = [tokens for tokens in sample if len(tokens) == 5]
        if not _only_corners_fit(xyxy):
            count = "5 values a line" if len(xyxy) * 2 >= len(sample) else "polygons"
            return replace(as_yolo, evidence=f"{count}, {shown}")
        return replace(as_txt, evidence=f"{shown} that fit as xyxy, not as cxcywh")
    return replace(as_txt, evidence=f"{as_txt.evidence}; {shown}")


def suggest_schema(
    rows: Sequence[tuple[str, int, int]], current: LabelSchema, names: tuple[str, ...]
) -> LabelSchema | None:
    """Return a schema that fits lines which `current` does not fit, or None.

    Args:
        rows: lines, each with its image's width and height in pixels.
        current: the schema in use.
        names: class names, to check the class column.
    """
    rows = _sample(rows)
    candidates = [LabelSchema("yolo", (), True, 0)]
    for normalized in (False, True):
        for form in _FORMS:
            for columns in (f"class,{form}", f"{form},class"):
                candidates.append(LabelSchema("txt", parse_columns(columns), normalized, 0))
    scored = [(_score(rows, candidate, names), candidate) for candidate in candidates]
    best_score, best = max(scored, key=lambda pair: pair[0])
    same = (best.format, best.columns, best.normalized) == (
        current.format, current.columns, current.normalized
    )  # fmt: skip
    return (
        None
        if same or best_score < 0.8 or best_score < _score(rows, current, names) + 0.2
        else best
    )


def _score(
    rows: Sequence[tuple[str, int, int]], schema: LabelSchema, names: tuple[str, ...]
) -> float:
    """Return the share of lines that need no fix under a schema."""
    good = 0
    indexes = [ClassIndex(names, first) for first in (0, 1)]
    for line, width, height in rows:
        try:
            raw = schema.parse(line)
            good += (
                _class_fits(raw.class_token, indexes) and not schema.shape(raw, width, height).fixes
            )
        except BadLabel:
            continue
    return good / len(rows) if rows else 0.0


def _class_fits(token: str, indexes: list[ClassIndex]) -> bool:
    for index in indexes:
        try:
            index.contiguous_id(token)
            return True
        except BadLabel:
            continue
    return False


def _sample(items: Sequence[T]) -> list[T]:
    """Return at most `_SAMPLE` items, evenly spaced."""
    step = max(1, len(items) // _SAMPLE)
    return list(items[::step])


def _share(sample: Sequence[list[str]], test: Callable[[list[str]], bool]) -> float:
    return sum(map(test, sample)) / len(sample) if sample else 0.0


def _has_normalized(tokens: list[str]) -> bool:
    """Whether the numbers of a line, its class apart, are at most 1 (with room for a slip)."""
    numbers = sorted(float(token) for token in tokens if is_number(token))
    # The class may be the largest number or not be one; a whole number above 1 can only be it.
    if len(numbers) == len(tokens) and len(numbers) > 4:
        numbers.pop()
    return (
        len(numbers) >= 4
        and numbers[0] >= -1
        and numbers[-1] <= 1
        and any(number % 1 for number in numbers)
    )


def _only_corners_fit(rows: list[list[str]]) -> bool:
    """Whether `x1 y1 x2 y2` makes sense of nearly all lines and `cx cy w h` of few."""
    as_corners = as_centres = 0
    for tokens in rows:
        if not all(map(is_number, tokens[1:])):
            continue
        a, b, c, d = map(float, tokens[1:])
        as_corners += a < c and b < d
        as_centres += all(
            -0.01 <= edge <= 1.01 for edge in (a - c / 2, a + c / 2, b - d / 2, b + d / 2)
        )
    return bool(rows) and as_corners >= 0.95 * len(rows) and as_centres < 0.5 * len(rows)
