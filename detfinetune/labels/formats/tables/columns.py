"""Which column of a table holds what: from the names in its heading, or from the values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from detfinetune.errors import did_you_mean
from detfinetune.labels.formats.lines.tokens import is_number
from detfinetune.labels.formats.raw_labels import BadFile, Form
from detfinetune.labels.formats.tables.delimited import is_empty
from detfinetune.labels.images.sizes import is_image

T = TypeVar("T")

# Names are compared without case, spaces and signs: `File Name`, `file_name`, `fileName`.
_IMAGE = (
    "path", "filepath", "imagepath", "imgpath", "filename", "imagefilename", "imagefile",
    "imagename", "imgname", "file", "image", "img", "imageid", "imgid", "frame", "frameid",
)  # fmt: skip
_LABEL = (
    "classname", "labelname", "categoryname", "class", "label", "category", "name", "object",
    "objectname", "classid", "labelid", "categoryid", "type",
)  # fmt: skip
_SPLIT = ("split", "subset", "set", "partition", "usage")
_CROWD = ("iscrowd", "isgroupof", "crowd")
_SIDES = {
    "x1": ("xmin", "x1", "left", "minx", "xtl"),
    "y1": ("ymin", "y1", "top", "miny", "ytl"),
    "x2": ("xmax", "x2", "right", "maxx", "xbr"),
    "y2": ("ymax", "y2", "bottom", "maxy", "ybr"),
    "x": ("x", "left", "xmin", "x1", "minx", "xtl"),
    "y": ("y", "top", "ymin", "y1", "miny", "ytl"),
    "cx": ("cx", "xc", "xcenter", "xcentre", "centerx", "centrex"),
    "cy": ("cy", "yc", "ycenter", "ycentre", "centery", "centrey"),
    "w": ("w", "width"),
    "h": ("h", "height"),
}
_FORMS: tuple[tuple[Form, tuple[str, str, str, str]], ...] = (
    ("corners", ("x1", "y1", "x2", "y2")),
    ("centre_and_size", ("cx", "cy", "w", "h")),
    ("top_left_and_size", ("x", "y", "w", "h")),
)
_WHOLE: dict[str, Form] = {
    "bboxxyxy": "corners",
    "boxxyxy": "corners",
    "bboxxywh": "top_left_and_size",
    "bbox": "top_left_and_size",
    "box": "top_left_and_size",
    "boundingbox": "top_left_and_size",
}
_BOX_PREFIXES = ("bbox", "box", "bb", "roi", "")
_SIZE_PREFIXES = ("image", "img", "im", "frame", "")
_KNOWN = frozenset(
    (*_IMAGE, *_LABEL, *_SPLIT, *_CROWD, *_WHOLE, *(n for names in _SIDES.values() for n in names))
)
_FEWEST = 2
_MOSTLY = 0.5


@dataclass(frozen=True)
class Columns:
    """Where in a row to find what; None for what the table does not have."""

    width: int
    """Cells in a row."""

    image: int
    label: int | None
    box: tuple[int, ...]
    """The four columns of the box, or the one that holds all four numbers."""

    form: Form
    """What the four numbers are."""

    evidence: str
    """By what the columns were found, for the user."""

    size: tuple[int, int] | None = None
    """Columns of the image's width and height in pixels."""

    split: int | None = None
    crowd: int | None = None
    confidence: int | None = None
    """Column that is 0 where a class was looked for and is not there (OpenImages)."""

    passed_over: tuple[str, ...] = ()
    """Names of the columns that are not used."""

    heading: tuple[str, ...] = ()
    """The heading as written; empty for a table without one."""


def squeeze(name: str) -> str:
    """Return a column's name as names are compared: letters and digits in lower case."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def known_names(cells: Sequence[str]) -> int:
    """Return how many cells are names that a heading would have."""
    return sum(squeeze(cell) in _KNOWN for cell in cells)


def looks_like_heading(cells: Sequence[str]) -> bool:
    """Whether a first row holds names of columns: two known ones, or words and no value at all."""
    words = [cell.strip() for cell in cells if cell.strip()]
    return known_names(cells) >= _FEWEST or (
        len(words) == len(cells) >= _FEWEST
        and not any(is_number(word) or is_image(Path(word)) for word in words)
    )


def columns_of_heading(heading: Sequence[str], line: int) -> Columns:
    """Find the columns by their names.

    Args:
        heading: names of the columns as written.
        line: the heading's line, from 1, for the error.

    Raises:
        BadFile: there is no column for the image, or none for a part of the box.
    """
    at: dict[str, int] = {}
    for index, name in enumerate(heading):
        at.setdefault(squeeze(name), index)
    if "x0" in at and "y0" in at and "x2" not in at:
        # Counted from 0: x0 y0 x1 y1.
        for new, old in (("x2", "x1"), ("y2", "y1"), ("x1", "x0"), ("y1", "y0")):
            if old in at:
                at[new] = at[old]
    box, form, missing = _box(at)
    label = _first(at, _LABEL)
    image = _first(at, _IMAGE)
    if image is None and label is not None and "name" in at:
        # `name` is the class, unless another column is and no other names the image.
        image = at["name"]
        label = _first({name: i for name, i in at.items() if name != "name"}, _LABEL)
    if image is None:
        missing = [*missing, ("image", ("filename", "image", "path"))]
    if image is None or missing:
        raise BadFile(_what_is_missing(heading, missing), line)
    free = {name: i for name, i in at.items() if i not in box}
    width, height = (_first(free, _prefixed(_SIZE_PREFIXES, (s,))) for s in ("width", "height"))
    size = (width, height) if width is not None and height is not None else None
    split, crowd = _first(free, _SPLIT), _first(free, _CROWD)
    used = {image, label, *box, *(size or ()), split, crowd}
    names = [heading[i].strip() for i in (image, *box, label) if i is not None]
    return Columns(
        width=len(heading),
        heading=tuple(heading),
        image=image,
        label=label,
        box=box,
        form=form,
        evidence=f"a heading with {', '.join(names)}",
        size=size,
        split=split,
        crowd=crowd,
        passed_over=tuple(n.strip() for i, n in enumerate(heading) if i not in used and n.strip()),
    )


def _box(at: dict[str, int]) -> tuple[tuple[int, ...], Form, list[tuple[str, tuple[str, ...]]]]:
    """Return the box's columns, their meaning, and the parts that are missing."""
    nearest: list[tuple[str, tuple[str, ...]]] = []
    for form, parts in _FORMS:
        found = {p: _first(at, _prefixed(_BOX_PREFIXES, _SIDES[p])) for p in parts}
        box = tuple(i for i in found.values() if i is not None)
        if len(set(box)) == len(parts):
            return box, form, []
        missing = [(part, _SIDES[part][:3]) for part in parts if found[part] is None]
        if not nearest or len(missing) < len(nearest):
            nearest = missing
    for name, form in _WHOLE.items():
        if name in at:
            return (at[name],), form, []
    return (), "corners", nearest


def _prefixed(prefixes: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(prefix + name for prefix in prefixes for name in names)


def _first(at: dict[str, int], names: Sequence[str]) -> int | None:
    return next((at[name] for name in names if name in at), None)


def _what_is_missing(heading: Sequence[str], missing: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    shown = [name.strip() for name in heading]
    wanted = []
    for part, names in missing:
        hints = (did_you_mean(name, shown) for name in names)
        hint = next((hint for hint in hints if hint), "")
        wanted.append(f"{part} (named {', '.join(names)} or the like).{hint}")
    return (
        f"the heading has the columns {', '.join(shown)}; missing: {' '.join(wanted)} "
        "Rename the columns in the heading, such as to filename,xmin,ymin,xmax,ymax,class."
    )


def columns_of_values(rows: Sequence[Sequence[str]], *, strict: bool = False) -> Columns | None:
    """Find the columns of a table without a heading by four numeric ones that stand together.

    Args:
        rows: the first rows.
        strict: whether the image's column must hold names that end as images do.

    Returns:
        `path,x1,y1,x2,y2,class` in whatever order, or None where there are no such columns.
    """
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    rows = [row for row in rows if len(row) == width]
    filled = [[row[i].strip() for row in rows if not is_empty(row[i])] for i in range(width)]
    numeric = [_share(column, is_number) > _MOSTLY for column in filled]
    pictures = [_share(column, lambda cell: is_image(Path(cell))) for column in filled]
    words = [i for i in range(width) if filled[i] and not numeric[i]]
    image = max(words, key=lambda i: (pictures[i], -i), default=None)
    run = _run(numeric)
    if image is None or run is None or (strict and pictures[image] <= _MOSTLY):
        return None
    first, length = run
    label = next((i for i in words if i != image), None)
    numbers = [row for row in rows if all(is_number(c.strip()) for c in row[first : first + 4])]
    box = tuple(range(first, first + 4))
    if label is None and length > len(box):
        # The class is a number too: in front of the box where only that makes boxes, else behind.
        in_front = _share([row[first + 1 : first + 5] for row in numbers], _ordered)
        if in_front > _share([row[first : first + 4] for row in numbers], _ordered):
            box, label = tuple(range(first + 1, first + 5)), first
        else:
            label = first + 4
    corners = _share([[row[i] for i in box] for row in numbers], _ordered) > _MOSTLY
    used = {image, label, *box}
    order = {image: "path", **dict(zip(box, _PARTS[corners], strict=True))}
    if label is not None:
        order[label] = "class"
    return Columns(
        width=width,
        image=image,
        label=label,
        box=box,
        form="corners" if corners else "top_left_and_size",
        evidence=f"rows of {','.join(order.get(i, '-') for i in range(width))} without a heading",
        passed_over=tuple(f"number {i + 1}" for i in range(width) if i not in used),
    )


_PARTS = {True: ("x1", "y1", "x2", "y2"), False: ("x", "y", "w", "h")}


def _run(numeric: Sequence[bool]) -> tuple[int, int] | None:
    """Return start and length of the first four or more columns in a row that are numeric."""
    text = "".join("n" if is_so else "." for is_so in numeric)
    found = re.search("n{4,}", text)
    return (found.start(), len(found[0])) if found else None


def _ordered(cells: Sequence[str]) -> bool:
    """Whether four numbers can be x1, y1, x2, y2."""
    try:
        x1, y1, x2, y2 = (float(cell) for cell in cells[:4])
    except ValueError:
        return False
    return x1 < x2 and y1 < y2


def _share(items: Sequence[T], test: Callable[[T], bool]) -> float:
    return sum(map(test, items)) / len(items) if items else 0.0
