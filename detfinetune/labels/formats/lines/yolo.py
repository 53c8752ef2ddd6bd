"""YOLO labels: `class cx cy w h`, or `class x y x y x y ...` for polygons, normalized."""

from __future__ import annotations

from detfinetune.labels.formats.lines.tokens import to_number, tokenize
from detfinetune.labels.formats.raw_labels import BadLabel, RawLabel, bounding_box

_BOX = ("the x of the centre", "the y of the centre", "the width", "the height")


def parse_yolo_line(line: str) -> RawLabel:
    """Read a box (5 values) or a polygon (7 or more, odd); a file may hold both.

    The box of a polygon is its bounding box.

    Raises:
        BadLabel: another number of values, or one that is not a finite number.
    """
    tokens = tokenize(line)
    if len(tokens) == 5:
        cx, cy, w, h = (to_number(t, name) for t, name in zip(tokens[1:], _BOX, strict=True))
        xyxy = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        return RawLabel(tokens[0], xyxy, form="cxcywh")
    if len(tokens) < 7 or len(tokens) % 2 == 0:
        kind = "too few columns" if len(tokens) < 5 else "wrong number of columns"
        raise BadLabel(
            kind,
            f"{len(tokens)} value{'s' * (len(tokens) != 1)}; a YOLO line has 5 "
            "(class cx cy w h) or, for a polygon, an odd number from 7 on (class x1 y1 x2 y2 ...)",
        )
    points = tuple(
        to_number(token, f"{'xy'[index % 2]} of point {index // 2 + 1}")
        for index, token in enumerate(tokens[1:])
    )
    return RawLabel(tokens[0], bounding_box((points,)), polygons=(points,), has_box=False)
