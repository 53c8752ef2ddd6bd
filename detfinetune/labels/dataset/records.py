"""What labels become once read: annotations and image records.

All coordinates are absolute pixels, x to the right and y down, with the image's top left corner
(not its first pixel's centre) at 0, 0; boxes are XYWH.
"""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]
Polygon = tuple[float, ...]


@dataclass(frozen=True)
class RleMask:
    """A mask as COCO's run lengths: column by column, empty pixels first."""

    size: tuple[int, int]
    """Height and width in pixels."""

    counts: str | tuple[int, ...]
    """Compressed as pycocotools writes it, or the lengths themselves."""


@dataclass(frozen=True)
class Annotation:
    """One labelled object."""

    category: int
    """Contiguous class id, from 0."""

    bbox: Box
    """Left, top, width, height in pixels."""

    polygons: tuple[Polygon, ...] = ()
    """Outlines, each x0, y0, x1, y1, ... in pixels; empty for a box alone."""

    mask: RleMask | None = None
    """A mask as run lengths, where that is what the labels have."""

    crowd: bool = False
    """A region of many objects that are not told apart; evaluation passes over it."""

    line: int = 0
    """Line of the label file, from 1; 0 where it is not known."""

    area: float | None = None
    """Square pixels as the labels say it; None: that of the outlines or the box."""


@dataclass(frozen=True)
class ImageRecord:
    """One image and its annotations; no annotations make a true negative."""

    file_name: str
    """Path relative to the split's image root, with forward slashes."""

    width: int
    """Pixels, after the image has been turned by its EXIF flag."""

    height: int
    """Pixels, after the image has been turned by its EXIF flag."""

    annotations: tuple[Annotation, ...] = ()

    label_file: str = ""
    """Label file relative to the data root; empty for an image without one."""
