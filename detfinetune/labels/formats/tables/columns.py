"""Which column of a table holds what: from the names in its heading, or from the values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from detfinetune.errors import did_you_mean
from detfinetune.labels.csv_text import CsvText, Row
from detfinetune.labels.formats.lines.tokens import is_number
from detfinetune.labels.formats.raw_labels import BadFile, Form
from detfinetune.labels.formats.tables.geometry import looks_like_geometry
from detfinetune.labels.images.sizes import is_image

# Names are compared without case, spaces and signs: `File Name`, `file_name`, `fileName`.
_IMAGE = (
    "filename", "filepath", "path", "imagepath", "imagename", "imagefile", "image", "imageid",
    "img", "imgname", "imgid", "file", "frame", "name",
)  # fmt: skip
_LABEL = (
    "class", "classname", "label", "labelname", "category", "categoryname", "name", "classid",
    "labelid", "categoryid", "type",
)  # fmt: skip
_GEOMETRY = (
    "geometry", "polygon", "polygons", "segmentation", "wkt", "points", "coordinates",
    "bbox", "boxes", "box", "boundingbox", "bboxxyxy", "bboxxywh",
)  # fmt: skip
_SPLIT = ("split", "subset", "set")
_CROWD = ("iscrowd", "isgroupof")
_FORMS: tuple[tuple[Form, tuple[tuple[str, ...], ...]], ...] = (
    ("xyxy", (("x0",), ("y0",), ("x1",), ("y1",))),
    ("xyxy", (("xmin", "x1", "left"), ("ymin", "y1", "top"), ("xmax", "x2", "right"),
                 ("ymax", "y2", "bottom"))),
    ("xyxy", (("x",), ("y",), ("xmax", "x2", "right"), ("ymax", "y2", "bottom"))),
    ("cxcywh", (("cx", "xcenter", "xcentre"), ("cy", "ycenter", "ycentre"),
                         ("w", "width"), ("h", "height"))),
    ("xywh", (("x", "left", "xmin"), ("y", "top", "ymin"), ("w", "width"),
                           ("h", "height"))),
)  # fmt: skip
_WANTED = "x1,y1,x2,y2 or x,y,w,h or one geometry column"
_SAMPLED = 50


@dataclass(frozen=True)
class Columns:
    """Where in a row to find what; None for what the table does not have."""

    heading: tuple[str, ...]
    """As written; empty cells for a table without one."""

    image: int
    label: int | None
    box: tuple[int, ...]
    """The four columns of the box, or the one that holds a geometry."""

    form: Form | None
    """What four numbers are; None where the rows of a geometry column are to tell."""

    evidence: str
    """By what the columns were found, for the user."""

    size: tuple[int, int] | None = None
    """Columns of the image's width and height in pixels."""

    split: int | None = None
    crowd: int | None = None
    confidence: int | None = None
    """Column that is 0 where a class was looked for and is not there (OpenImages)."""

    @property
    def ignored(self) -> list[str]:
        """Names of the columns that are not used."""
        used = {self.image, self.label, *self.box, *(self.size or ())}
        used |= {self.split, self.crowd, self.confidence}
        return [n.strip() for i, n in enumerate(self.heading) if i not in used and n.strip()]


def squeeze(name: str) -> str:
    """Return a column's name as names are compared: letters and digits in lower case."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def find_columns(source: CsvText) -> tuple[Columns, bool]:
    """Return the columns of a table, and whether its first row is a heading.

    Raises:
        BadFile: columns are missing; the text names those there are.
    """
    rows = source.rows()
    first = next(rows, None)
    if first is None:
        raise BadFile("the file is empty", 1)
    if first.problem:
        raise BadFile(f"the heading cannot be read: {first.problem}", first.line)
    words = [cell.strip() for cell in first.cells if cell.strip()]
    if len(words) > 1 and not any(is_number(word) or is_image(Path(word)) for word in words):
        return columns_of_heading(first, islice(rows, _SAMPLED)), True
    return _columns_of_values(source.rows(), first), False


def columns_of_heading(heading: Row, rows: Iterable[Row]) -> Columns:
    """Find the columns by their names; that of a geometry by what its cells hold, too.

    Args:
        heading: names of the columns as written.
        rows: some that follow.

    Raises:
        BadFile: there is no column for the image, or none for a part of the box.
    """
    at: dict[str, int] = {}
    for index, name in enumerate(heading.cells):
        at.setdefault(squeeze(name), index)
    image = _first(at, _IMAGE)
    label = _first(at, [name for name in _LABEL if at.get(name) != image])
    box, form, nearest = _box(at)
    if not box:
        free = [i for i in range(len(heading.cells)) if i not in (image, label)]
        geometry = _geometry_column(at, free, [row.cells for row in rows])
        box = () if geometry is None else (geometry,)
        if box:
            name = squeeze(heading.cells[box[0]])
            form = "xyxy" if "xyxy" in name else "xywh" if "xywh" in name else None
    if image is None or not box:
        lacking = [] if box else [nearest or f"no box columns ({_WANTED})"]
        lacking += [] if image is not None else [f"no image column ({', '.join(_IMAGE[:3])})"]
        listed = ",".join(name.strip() for name in heading.cells)
        raise BadFile(f"columns {listed[:300]}: {' and '.join(lacking)}", heading.line)
    free_at = {name: i for name, i in at.items() if i not in box}
    width = _first(free_at, ("imagewidth", "imgwidth", "width"))
    height = _first(free_at, ("imageheight", "imgheight", "height"))
    names = [heading.cells[i].strip() for i in (image, *box, label) if i is not None]
    return Columns(
        heading=tuple(heading.cells),
        image=image,
        label=label,
        box=box,
        form=form,
        evidence=f"a heading with {', '.join(names)}",
        size=(width, height) if width is not None and height is not None else None,
        split=_first(at, _SPLIT),
        crowd=_first(at, _CROWD),
    )


def _box(at: dict[str, int]) -> tuple[tuple[int, ...], Form | None, str]:
    """Return the box's columns and their meaning, or what a table that nearly has them lacks."""
    # `bbox_x`, `Roi.X1`
    prefixed = {
        short: index
        for name, index in at.items()
        if (short := re.sub("^(bbox|box|roi)", "", name)) != name
    }
    at = {**at, **prefixed}  # beside a plain `width`, which is the image's
    nearest = ""
    for form, sides in _FORMS:
        found = [_first(at, names) for names in sides]
        box = tuple(index for index in found if index is not None)
        if len(set(box)) == len(sides):
            return box, form, ""
        if len(box) == len(sides) - 1 and not nearest:
            names = sides[found.index(None)]
            hints = filter(None, (did_you_mean(name, list(at)) for name in names))
            nearest = f"no column {' or '.join(names)}.{next(hints, '')} A box needs {_WANTED}"
    return (), None, nearest


def _geometry_column(
    at: dict[str, int], free: Sequence[int], rows: Sequence[Sequence[str]]
) -> int | None:
    """Return the column whose cells hold geometries, else the first that is called so."""
    named = [at[name] for name in _GEOMETRY if at.get(name) in free]
    for index in (*named, *free):
        if any(looks_like_geometry(cells[index]) for cells in rows if index < len(cells)):
            return index
    return next(iter(named), None)


def _first(at: dict[str, int], names: Sequence[str]) -> int | None:
    return next((at[name] for name in names if name in at), None)


def _columns_of_values(rows: Iterable[Row], first: Row) -> Columns:
    """Find the columns of `path,x1,y1,x2,y2,class` in any order, by the rows that have a box.

    Raises:
        BadFile: there are no such columns.
    """
    filled = (row.cells for row in rows if sum(map(_is_numeric, row.cells)) >= 4)
    sample = list(islice((c for c in filled if len(c) == len(first.cells)), _SAMPLED))
    for cells in sample[:1]:
        numeric = "".join("n" if _is_numeric(cell) else "." for cell in cells)
        image = next((i for i, cell in enumerate(cells) if is_image(Path(cell.strip()))), None)
        start = numeric.find("nnnn")
        if image is None or start < 0:
            continue
        label = next((i for i, cell in enumerate(cells) if numeric[i] == "." and i != image), None)
        starts = [start]
        if label is None and numeric.startswith("nnnnn", start):
            # The class is a number too, after the box or before it.
            starts.append(start + 1)
        ordered = [s for s in starts if all(map(_is_ordered, (row[s : s + 4] for row in sample)))]
        at = (ordered or starts)[0]
        if len(starts) > 1:
            class_at = {start: start + 4, start + 1: start}
            at = min(ordered or starts, key=lambda s: _size([row[class_at[s]] for row in sample]))
            label = class_at[at]
        box = tuple(range(at, at + 4))
        parts = ("x1", "y1", "x2", "y2") if ordered else ("x", "y", "w", "h")
        names = dict(zip(box, parts, strict=True)) | {image: "path"}
        names |= {label: "class"} if label is not None else {}
        listed = ",".join(names.get(i, "-") for i in range(len(cells)))
        return Columns(
            heading=("",) * len(cells),
            image=image,
            label=label,
            box=box,
            form="xyxy" if ordered else "xywh",
            evidence=f"rows of {listed} without a heading",
        )
    raise BadFile(
        f"no table of boxes: the first row, {first.text[:100]}, is not a heading (such as "
        "filename,xmin,ymin,xmax,ymax,class), nor an image's name and four numbers side by side",
        first.line,
    )


def _is_numeric(cell: str) -> bool:
    return is_number(cell.strip().replace(",", "."))


def _size(cells: Sequence[str]) -> tuple[bool, float, int]:
    """Return a column's fractions, maximum and variety: those of classes are below coordinates'."""
    numbers = {float(cell.strip().replace(",", ".")) for cell in cells if _is_numeric(cell)}
    return any(number % 1 for number in numbers), max(numbers, default=0), len(numbers)


def _is_ordered(cells: Sequence[str]) -> bool:
    """Whether four numbers can be x1, y1, x2, y2."""
    if not all(map(_is_numeric, cells)):
        return True
    x1, y1, x2, y2 = (float(cell.strip().replace(",", ".")) for cell in cells)
    return x1 < x2 and y1 < y2
