"""Parsers are pure functions of a line: tables of lines and what they mean."""

from __future__ import annotations

import pytest

from detfinetune.errors import ConfigError
from detfinetune.labels.formats.lines.tokens import is_comment, is_heading, tokenize
from detfinetune.labels.formats.lines.txt import parse_columns, parse_txt_line
from detfinetune.labels.formats.lines.yolo import parse_yolo_line
from detfinetune.labels.formats.raw_labels import BadLabel

Corners = tuple[float, float, float, float]


@pytest.mark.parametrize(
    ("line", "columns", "class_token", "xyxy"),
    [
        ("0 39 294 71 332", "class,x1,y1,x2,y2", "0", (39, 294, 71, 332)),
        ("215 48 253 78 1", "x1,y1,x2,y2,class", "1", (215, 48, 253, 78)),
        ("(563,478),(630,573),1 ", "x1,y1,x2,y2,class", "1", (563, 478, 630, 573)),
        ("( 210, 538),(312 ,649), 4", "x1,y1,x2,y2,class", "4", (210, 538, 312, 649)),
        ("car;1;2;3;4", "class,x1,y1,x2,y2", "car", (1, 2, 3, 4)),
        ("car\t1\t2\t3\t4", "class,x1,y1,x2,y2", "car", (1, 2, 3, 4)),
        ("[car] {1|2|3|4}", "class,x1,y1,x2,y2", "car", (1, 2, 3, 4)),
        ("'car', 1.5, 2e0, +3, .4e1", "class,x1,y1,x2,y2", "car", (1.5, 2, 3, 4)),
        ("traffic light 1 2 3 4", "class,x1,y1,x2,y2", "traffic light", (1, 2, 3, 4)),
        ("1,2,3,4,big red bus", "x1,y1,x2,y2,class", "big red bus", (1, 2, 3, 4)),
        ("0 10 20 30 40", "class,x,y,w,h", "0", (10, 20, 40, 60)),
        ("0 10 20 30 40", "class,cx,cy,w,h", "0", (-5, 0, 25, 40)),
        ("40 30 20 10 0", "h,w,cy,cx,class", "0", (-5, 0, 25, 40)),
        ("0 0.93 1 2 3 4", "class,-,x1,y1,x2,y2", "0", (1, 2, 3, 4)),
        ("a.jpg 9 0 1 2 3 4", "-,-,class,x1,y1,x2,y2", "0", (1, 2, 3, 4)),
        ("1 2 3 4", "x1,y1,x2,y2", "", (1, 2, 3, 4)),
        ("0 0,25 0,5 0,75 1", "class,x1,y1,x2,y2", "0", (0.25, 0.5, 0.75, 1)),
        ("0 1 3 2 4", "class,x1,x2,y1,y2", "0", (1, 2, 3, 4)),
        ("voiture-électrique 1 2 3 4", "class,x1,y1,x2,y2", "voiture-électrique", (1, 2, 3, 4)),
        ("-1 -5 -6 7 8", "class,x1,y1,x2,y2", "-1", (-5, -6, 7, 8)),
        ("0 1 2 3 4", "class, xmin, ymin, xmax, ymax", "0", (1, 2, 3, 4)),
    ],
)
def test_txt_line(line: str, columns: str, class_token: str, xyxy: Corners) -> None:
    raw = parse_txt_line(line, parse_columns(columns))
    assert (raw.class_token, raw.xyxy) == (class_token, pytest.approx(xyxy))


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ("0 1 2 3", "too few columns", "4 values where data.columns names 5 (class,x1,y1,x2,y2)"),
        ("0", "too few columns", "1 value where data.columns names 5 (class,x1,y1,x2,y2)"),
        ("0 1 2 3 4 .9", "too many columns", "6 values where data.columns names 5"),
        ("0 1 2 x 4", "not a number", "x2 is 'x', not a number"),
        ("0 1 2 1_0 4", "not a number", "x2 is '1_0', not a number"),
        ("0 1 2 ٣ 4", "not a number", "x2 is '٣', not a number"),
        ("0 1 nan 3 4", "not finite", "y1 is 'nan', not a finite number"),
        ("0 1 -Inf 3 4", "not finite", "y1 is '-Inf', not a finite number"),
        ("0 1 1e999 3 4", "not finite", "y1 is '1e999', not a finite number"),
        ("a b 1 c 2 3 4", "too many columns", "7 values where data.columns names 5"),
    ],
)
def test_txt_line_that_cannot_be_used(line: str, kind: str, message: str) -> None:
    with pytest.raises(BadLabel) as raised:
        parse_txt_line(line, parse_columns("class,x1,y1,x2,y2"))
    assert raised.value.kind == kind
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("clas,x1,y1,x2,y2", "unknown column 'clas'. Did you mean 'class'?"),
        ("class,x1,y1,x1,y2", "column 'x1' is named twice"),
        ("class,x1,y1,x2", "does not make a box"),
        ("class,x1,y1,w,y2", "does not make a box"),
        ("class,cx,cy,x2,y2", "does not make a box"),
        ("", "does not make a box"),
        ("label,x1,y1,x2,y2", "Known columns: class, x1"),
    ],
)
def test_columns_that_make_no_box(columns: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^data\.columns: ") as raised:
        parse_columns(columns)
    assert message in str(raised.value)


def test_yolo_box_and_polygon() -> None:
    box = parse_yolo_line("3 0.5 0.4 0.2 0.1")
    assert (box.class_token, box.polygons) == ("3", ())
    assert box.xyxy == pytest.approx((0.4, 0.35, 0.6, 0.45))
    outline = parse_yolo_line("1 0.1 0.2 0.5 0.25 0.3 0.9")
    assert outline.polygons == ((0.1, 0.2, 0.5, 0.25, 0.3, 0.9),)
    assert outline.xyxy == (0.1, 0.2, 0.5, 0.9)
    assert len(parse_yolo_line("1 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9").polygons[0]) == 8


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2", "4 values; a YOLO line has 5 (class cx cy w h)"),
        ("0 0.5 0.5 0.2 0.2 0.9", "6 values; a YOLO line has 5"),
        ("0 .1 .1 .2 .2 .3 .3 .4", "8 values; a YOLO line has 5"),
        ("0 nan 0.5 0.2 0.2", "the x of the centre is 'nan', not a finite number"),
        ("0 0.5 0.5 wide 0.2", "the width is 'wide', not a number"),
        ("0 .1 .1 .2 .2 .3 q", "y of point 3 is 'q', not a number"),
    ],
)
def test_yolo_line_that_cannot_be_used(line: str, message: str) -> None:
    with pytest.raises(BadLabel) as raised:
        parse_yolo_line(line)
    assert message in str(raised.value)


def test_lines_that_say_nothing_of_objects() -> None:
    assert [is_comment(line) for line in ("", "# a", "//x", "0 1 2 3 4")] == [
        True, True, True, False,
    ]  # fmt: skip
    assert is_heading("class x1 y1 x2 y2")
    assert is_heading("xmin,ymin,xmax,ymax,label")
    assert not is_heading("car nan nan nan nan")
    assert not is_heading("big red bus")
    assert tokenize("(1,2),(3,4),5") == ["1", "2", "3", "4", "5"]
