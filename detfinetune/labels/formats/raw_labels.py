"""What each label format is parsed into: objects in the file's own units, image by image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from detfinetune.labels.dataset.records import Polygon, RleMask

Form = Literal["xyxy", "xywh", "cxcywh"]


class BadLabel(Exception):
    """An object that cannot be used; `kind` is for counting, the text is for people."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class BadFile(Exception):
    """A label file that cannot be read at all, such as truncated JSON."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(slots=True)
class RawLabel:
    """One object as its label file gives it, in the file's own units."""

    class_token: str
    """Class number or name; empty where the file has none."""

    xyxy: tuple[float, float, float, float]
    """x1, y1, x2, y2 as written, not necessarily in order; the bounding box of polygons alone."""

    polygons: tuple[Polygon, ...] = ()
    """Each x0, y0, x1, y1, ..."""

    form: Form = "xyxy"
    """How the file gives the box; except for xyxy, x2 < x1 means a negative width."""

    has_box: bool = True
    """False if only polygons are given: the box then follows them when they are fixed."""

    mask: RleMask | None = None
    """RLE mask, in pixels of the image."""

    crowd: bool = False
    """A crowd region (COCO's `iscrowd`, OpenImages' `IsGroupOf`)."""

    line: int = 0
    """Line of the label file, from 1, on which the object starts."""

    text: str = ""
    """What the ledger shows."""

    area: float | None = None
    """Square pixels, where the file gives it (COCO's `area`, for APs, APm, APl)."""

    identity: int | None = None
    """The file's own id of the object, where it has one (COCO's annotation id)."""

    exact_xywh: tuple[float, float, float, float] | None = None
    """Absolute x, y, width, height exactly as written, where they must survive unrounded (COCO)."""


@dataclass(slots=True)
class RawProblem:
    """An object that breaks its format's rules."""

    line: int
    kind: str
    """Short name of the rule, for counting."""

    reason: str
    text: str = ""
    identity: int | None = None
    """The file's own id of the object, as in `RawLabel`."""


@dataclass(slots=True)
class RawImage:
    """One image of a label file, with all its objects, good or bad."""

    name: str
    """As in the file, with forward slashes; empty if the label file's name decides."""

    labels: list[RawLabel] = field(default_factory=list)
    problems: list[RawProblem] = field(default_factory=list)
    size: tuple[int, int] | None = None
    """Width and height in pixels as the file states them."""

    line: int = 0
    split: str = ""
    """The subset that the file names for the image; empty if none."""

    identity: int | None = None
    """The file's own id of the image, where it has one (COCO's image id)."""


@dataclass(slots=True)
class Document:
    """A parsed label file; each of its objects is a label or a problem."""

    images: list[RawImage] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    """The class list that the file declares, in order; empty if none."""

    category_ids: dict[str, int] = field(default_factory=dict)
    """The file's own ids of its classes, if it has any (COCO's category ids)."""

    problems: list[RawProblem] = field(default_factory=list)
    """Objects without an image in the file."""

    normalized: bool = False
    """Whether coordinates are normalized instead of absolute."""

    notes: list[str] = field(default_factory=list)
    """What was ignored in a file of many images, for the user to read."""

    tally: Counter[str] = field(default_factory=Counter)
    """The same for a file of one image, with its count: added up over all files."""


def bounding_box(polygons: tuple[Polygon, ...]) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 around polygons (at least one, each with a point)."""
    xs = [x for polygon in polygons for x in polygon[0::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return min(xs), min(ys), max(xs), max(ys)
