"""Whatever a table or line holds: no crash, and every row is a label, a problem or a negative."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detfinetune.labels.formats.lines.dota import detect_dota, is_dota_header, parse_dota_line
from detfinetune.labels.formats.raw_labels import BadFile, BadLabel, Document
from detfinetune.labels.formats.tables.csv_table import detect_csv, parse_csv
from detfinetune.labels.formats.tables.geometry import looks_like_geometry, parse_geometry
from detfinetune.labels.formats.tables.openimages import (
    detect_openimages,
    parse_openimages,
    read_class_descriptions,
)

thorough = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

NUMBERS = st.one_of(
    st.integers(-5, 2000).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(str),
    st.floats(0, 1).map(lambda v: f"{v:.4f}"),
    st.floats(0, 1).map(lambda v: f"{v:.4f}".replace(".", ",")),
    st.sampled_from(["", " ", "nan", "NA", "1e999", "1_0", "0x10", "1,024", "٣", "--1", "1e308"]),
)
# What csv.writer quotes, and what it must not be given by half: quotes come in whole cells only.
WORDS = st.one_of(
    st.sampled_from(["a.jpg", "b.png", "sub/c.jpg", "", " ", "cat", "/m/0k4j", "none", "5"]),
    st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=8),
)
CELLS = st.one_of(NUMBERS, WORDS)
COLUMNS = ["filename", "class", "xmin", "ymin", "xmax", "ymax", "width", "height", "split"]


def written(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return stream.getvalue()


def check_sums(document: Document, rows: int, negatives: int | None = None) -> None:
    """Every row is accounted for, at a line of its own."""
    found = [(label.line, label.text) for image in document.images for label in image.labels]
    found += [(p.line, p.text) for image in document.images for p in image.problems]
    found += [(problem.line, problem.text) for problem in document.problems]
    lines = [line for line, _ in found]
    assert len(set(lines)) == len(lines)
    assert all(text.strip() and len(text) <= 200 for _, text in found)
    if negatives is None:
        assert len(found) <= rows
    else:
        assert len(found) + negatives == rows


def is_blank(row: Sequence[str]) -> bool:
    return not any(cell.strip() for cell in row)


@thorough
@given(
    st.lists(st.lists(CELLS, min_size=9, max_size=9), max_size=3),
    st.sampled_from(",;\t|"),
    st.permutations(COLUMNS),
)
def test_csv_rows_under_a_heading(
    rows: list[list[str]], delimiter: str, columns: list[str]
) -> None:
    document = parse_csv(written([columns, *rows], delimiter))
    at = {name: index for index, name in enumerate(columns)}
    data = [row for row in rows if not is_blank(row)]
    empty = {"", "na", "n/a", "nan", "none", "null", "<na>"}
    classless = {*empty, "background", "empty", "negative", "no finding", "nothing"}
    negatives = [
        row
        for row in data
        if row[at["filename"]].strip()
        and row[at["class"]].strip().lower() in classless
        and all(row[at[side]].strip().lower() in empty for side in ("xmin", "ymin", "xmax", "ymax"))
    ]
    check_sums(document, len(data), len(negatives))
    # Sound rows are labels with the numbers that they hold, line by line.
    by_line = {label.line: label for image in document.images for label in image.labels}
    for line, row in enumerate(rows, start=2):
        sides = [row[at[side]] for side in ("xmin", "ymin", "xmax", "ymax")]
        if row[at["filename"]].strip() and row[at["class"]].strip() and all(
            side.isascii() and side.isdigit() for side in sides
        ):  # fmt: skip
            assert by_line[line].xyxy == tuple(map(float, sides))


@thorough
@given(st.lists(st.lists(CELLS, max_size=8), max_size=4), st.sampled_from(",;\t|"))
def test_csv_rows_of_any_length(rows: list[list[str]], delimiter: str) -> None:
    text = written([["path", "x1", "y1", "x2", "y2", "label"], *rows], delimiter)
    document = parse_csv(text)
    data = [row for row in rows if not is_blank(row)]
    check_sums(document, len(data))
    lost = len(data) - sum(len(i.labels) + len(i.problems) for i in document.images)
    lost -= len(document.problems)
    # What is neither label nor problem names an image and nothing else of use.
    assert lost <= sum(len(row) >= 6 and bool(row[0].strip()) for row in data)


@thorough
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.booleans())
def test_any_text_as_csv(text: str, with_heading: bool) -> None:
    if with_heading:
        text = f"path,x1,y1,x2,y2,class\na.jpg,1,2,3,4,cat\n{text}"
    detect_csv(text)
    try:
        document = parse_csv(text)
    except BadFile:
        if with_heading:
            raise
        return
    if with_heading and '"' not in text:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[1:]
        data = [line for line in lines if line.replace(",", "").strip()]
        negatives = sum(
            len(cells := line.split(",")) >= 6
            and bool(cells[0].strip())
            and not any(cell.strip() for cell in cells[1:])
            for line in data
        )
        check_sums(document, len(data), negatives)


@thorough
@given(
    st.lists(
        st.sampled_from(
            ['"', '""', ",", "\n", "a.jpg", "1", "2.5", "cat", '"x,y"', "{", "\0", "\r", ";", " "]
        ),
        max_size=60,
    )
)
def test_quotes_swallow_no_row(pieces: list[str]) -> None:
    heading, sound = "path,x1,y1,x2,y2,class\n", "b.jpg,1,2,3,4,cat\n"
    junk = "".join(pieces)
    document = parse_csv(f"{heading}{junk}\n{sound * 3}")
    start = f"{heading}{junk}\n".replace("\r\n", "\n").replace("\r", "\n").count("\n")
    lines = {label.line for image in document.images for label in image.labels}
    # An open quote may spoil the row that it stands in, and no more.
    assert {start + 1, start + 2, start + 3} <= lines


@thorough
@given(
    st.lists(st.lists(st.one_of(NUMBERS, WORDS), min_size=8, max_size=8), max_size=3),
    st.permutations(
        ["ImageID", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsGroupOf"]
    ),
    st.sampled_from(",;\t"),
)
def test_openimages_rows(rows: list[list[str]], columns: list[str], delimiter: str) -> None:
    text = written([columns, *rows], delimiter)
    detect_openimages(text)
    document = parse_openimages(text)
    assert document.normalized
    data = [row for row in rows if not is_blank(row)]
    check_sums(document, len(data))
    at = {name: index for index, name in enumerate(columns)}
    passed = [row for row in data if _is_passed_over(row, at)]
    found = sum(len(i.labels) + len(i.problems) for i in document.images)
    assert found + len(document.problems) + len(passed) == len(data)


def _is_passed_over(row: Sequence[str], at: dict[str, int]) -> bool:
    """Whether a row is verified absent, or names an image and no object."""
    if not row[at["ImageID"]].strip():
        return False
    try:
        if float(row[at["Confidence"]]) == 0:
            return True
    except ValueError:
        pass
    empty = {"", "na", "n/a", "nan", "none", "null", "<na>"}
    cells = (
        row[at[name]].strip().lower() for name in ("LabelName", "XMin", "XMax", "YMin", "YMax")
    )
    return all(cell in empty for cell in cells)


@thorough
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=120))
@pytest.mark.parametrize("parse", [parse_openimages, read_class_descriptions])
def test_any_text_as_openimages(parse: Callable[[str], object], text: str) -> None:
    detect_openimages(text)
    for start in ("", "ImageID,LabelName,XMin,XMax,YMin,YMax\n"):
        with contextlib.suppress(BadFile):
            parse(start + text)


GEOMETRY_VALUES = st.recursive(
    st.one_of(st.integers(-5, 2000), st.floats(), st.sampled_from([None, True, "x", 10**400])),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.just("type"), inner),
    max_leaves=20,
)


@settings(thorough, max_examples=300)
@given(
    st.one_of(
        st.text(max_size=60),
        GEOMETRY_VALUES.map(json.dumps),
        GEOMETRY_VALUES.map(str),
        st.text("POLYGNMULTI ()0123456789.,e-naif", max_size=60).map("POLYGON ((".__add__),
    )
)
def test_any_cell_as_geometry(cell: str) -> None:
    looks_like_geometry(cell)
    with contextlib.suppress(BadLabel):
        geometry = parse_geometry(cell)
        assert geometry is None or all(
            len(polygon) >= 6 and len(polygon) % 2 == 0 and all(map(math.isfinite, polygon))
            for polygon in geometry.polygons
        )


DOTA_NUMBERS = st.one_of(NUMBERS, st.integers(0, 4000).map(str))


@thorough
@given(
    st.lists(DOTA_NUMBERS, min_size=8, max_size=8),
    st.from_regex(r"[a-z][a-z\-]*( [a-z][a-z\-]*){0,3}", fullmatch=True),
    st.sampled_from(["", " 0", " 1", "\t2"]),
)
def test_dota_lines(numbers: list[str], name: str, difficult: str) -> None:
    line = f"{' '.join(numbers)} {name}{difficult}"
    if all(n.isascii() and n.isdigit() for n in numbers):
        label = parse_dota_line(line)
        assert label.class_token == name
        assert label.polygons == (tuple(map(float, numbers)),)
        return
    with contextlib.suppress(BadLabel):
        assert parse_dota_line(line).class_token == name


@thorough
@given(st.text(max_size=120))
def test_any_text_as_dota(line: str) -> None:
    detect_dota([line])
    is_dota_header(line)
    with contextlib.suppress(BadLabel):
        assert len(parse_dota_line(line).polygons[0]) == 8
