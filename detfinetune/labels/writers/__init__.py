"""Label formats that are written: whole files into a folder that the caller makes appear at once.

None of them holds all that COCO JSON does. What is lost on the way is counted and returned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

BOX_MOVED_PIXELS = 0.5
"""A side of a box that moves by more than this is counted."""

CROWD = "crowd regions, which the format cannot mark"


@dataclass(frozen=True)
class WrittenLabels:
    """What was written of a split, and what could not be."""

    format: str
    split: str
    files: int
    """Label files: one an image, or one."""

    objects: int
    """Objects in them."""

    left_out: Counter[str] = field(default_factory=Counter)
    """Objects that are in no file, by reason."""

    polygons_lost: int = 0
    """Objects with a polygon or a mask, of which only the box is written."""

    boxes_only: int = 0
    """Objects written as boxes among polygons, because they have none that can be written."""

    polygons_changed: int = 0
    """Polygons that had to be joined, or traced from a mask."""

    iou_min: float | None = None
    """Lowest IoU of their masks before and after, both rasterised at the image's size."""

    boxes_moved: int = 0
    """Boxes of which a side moves by more than half a pixel: of YOLO's polygons only the bounding
    box is read back, and of Florence-2's locations the centre of the bin."""

    def text(self) -> str:
        """Return in words what was written and what was lost."""
        lines = [
            f"{self.split or 'labels'}: {_count(self.objects, 'object')} in "
            f"{_count(self.files, 'file')} ({self.format})"
        ]
        lines += [f"left out: {reason}: {count}" for reason, count in self.left_out.items()]
        if self.polygons_lost:
            lines.append(
                f"lost: the polygons of {_count(self.polygons_lost, 'object')}; only their boxes "
                "are written"
            )
        if self.boxes_only:
            lines.append(f"written as boxes, without a polygon: {self.boxes_only}")
        if self.iou_min is not None:
            lines.append(
                f"joined or traced: {_count(self.polygons_changed, 'polygon')}; lowest mask IoU "
                f"with the original {self.iou_min:.4f}"
            )
        if self.boxes_moved:
            instead = (
                "centre of the bins" if self.format == "florence" else "polygon's bounding box"
            )
            lines.append(
                f"changed: {_count(self.boxes_moved, 'box')} by more than {BOX_MOVED_PIXELS} px; "
                f"the {instead} is read back"
            )
        return "\n  ".join(lines)

    @property
    def lossless(self) -> bool:
        """Whether reading back gives the same objects, boxes and masks."""
        return not (
            self.left_out.total()
            or self.polygons_lost
            or self.boxes_moved
            or (self.iou_min is not None and self.iou_min < 1)
        )


def check_classes(categories: Sequence[int], classes: Sequence[str]) -> None:
    """Make sure that every category has a name.

    Raises:
        ValueError: one has none.
    """
    if len(categories) and not 0 <= min(categories) <= max(categories) < len(classes):
        raise ValueError(f"categories {min(categories)} to {max(categories)}, {len(classes)} names")


def _count(number: int, what: str) -> str:
    plural = what + ("es" if what.endswith("x") else "s")
    return f"{number} {what if number == 1 else plural}"
