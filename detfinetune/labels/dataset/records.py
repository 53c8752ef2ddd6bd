"""Annotations, image records and split rows: what labels of any format become.

All coordinates are absolute pixels, x to the right and y down, with the image's top left corner
(not its first pixel's centre) at 0, 0; boxes are XYWH.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Box = tuple[float, float, float, float]
Polygon = tuple[float, ...]


@dataclass(frozen=True)
class RleMask:
    """A run-length encoded mask as in COCO: column by column, background first."""

    size: tuple[int, int]
    """Height and width in pixels."""

    counts: str | tuple[int, ...]
    """Compressed by pycocotools, or the run lengths themselves."""


@dataclass(frozen=True)
class Annotation:
    """One labelled object."""

    category: int
    """Contiguous class id, from 0."""

    bbox: Box
    """XYWH in pixels."""

    polygons: tuple[Polygon, ...] = ()
    """Each x0, y0, x1, y1, ... in pixels; empty for a box only."""

    mask: RleMask | None = None
    """RLE mask, where the labels have one."""

    crowd: bool = False
    """A region of many objects that are not labelled one by one; evaluation ignores it."""

    line: int = 0
    """Line of the label file, from 1; 0 where unknown."""

    area: float | None = None
    """Square pixels as the labels give it; None: area of the polygons or the box."""


@dataclass(frozen=True)
class ImageRecord:
    """One image and its annotations; no annotations make a true negative."""

    file_name: str
    """Path relative to the split's image root, with forward slashes."""

    width: int
    """Pixels, after rotation by the EXIF flag."""

    height: int
    """Pixels, after rotation by the EXIF flag."""

    annotations: tuple[Annotation, ...] = ()

    label_file: str = ""
    """Label file relative to the data root; empty for an image without one."""


@dataclass(frozen=True)
class SplitRow:
    """Where one image belongs."""

    file_name: str
    """Path of the image, with forward slashes."""

    split: str
    """train, val or test."""

    fold: int | None = None
    """Fold of cross-validation, from 0; None for no fold."""

    group: str = ""
    """Name of the group that stays together; empty without groups."""

    line: int = field(default=0, compare=False)
    """Line of the file that it was read from, from 1."""
