"""Label formats that are written: whole files into a folder that the caller makes appear at once.

None of them holds all that COCO JSON does. What is lost on the way is measured and returned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

NEARLY_EQUAL = 0.99
"""Mask IoU from which on an outline counts as kept."""

BOX_MOVED_PIXELS = 0.5
"""A side of a box that moves by more than this is counted."""

CROWD = "crowd regions, which the format has no mark for"


@dataclass(frozen=True)
class WrittenLabels:
    """What was written of a split, and what could not be."""

    format: str
    split: str
    files: int
    """Label files, one an image."""

    objects: int
    """Objects in them."""

    left_out: Counter[str] = field(default_factory=Counter)
    """Objects that are in no file, by reason."""

    polygons_lost: int = 0
    """Objects with an outline or a mask, of which only the box is written."""

    boxes_only: int = 0
    """Objects written as boxes among outlines, because they have none that can be written."""

    polygons_changed: int = 0
    """Outlines that had to be joined or traced; the figures below are theirs."""

    iou_min: float | None = None
    """Lowest IoU of an object's mask before and after, both rasterised at the image's size."""

    iou_mean: float | None = None
    """Mean of these IoUs."""

    iou_below: int = 0
    """How many of these IoUs are below 0.99."""

    boxes_moved: int = 0
    """Boxes that are not the hull of their outline, by more than half a pixel on a side: an
    outline is all that is written, so the box will be its hull."""

    def text(self) -> str:
        """Return in plain words what was written and what was lost."""
        lines = [
            f"{self.split or 'labels'}: {_count(self.objects, 'object')} in "
            f"{_count(self.files, 'file')} ({self.format})"
        ]
        lines += [f"left out: {reason}: {count}" for reason, count in self.left_out.items()]
        if self.polygons_lost:
            lines.append(
                f"lost: the outlines of {_count(self.polygons_lost, 'object')}; only their boxes "
                "are written"
            )
        if self.boxes_only:
            lines.append(f"written as boxes, without an outline: {self.boxes_only}")
        if self.iou_min is not None and self.iou_mean is not None:
            lines.append(
                f"joined or traced: {_count(self.polygons_changed, 'outline')}; mask IoU with the "
                f"original {self.iou_mean:.4f} on average, {self.iou_min:.4f} at worst, "
                f"{self.iou_below} below {NEARLY_EQUAL}"
            )
        if self.boxes_moved:
            lines.append(
                f"changed: {_count(self.boxes_moved, 'box')} by more than "
                f"{BOX_MOVED_PIXELS} px, for a box is read back as the hull of its outline"
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
        ValueError: one has not.
    """
    if len(categories) and not 0 <= min(categories) <= max(categories) < len(classes):
        raise ValueError(f"categories {min(categories)} to {max(categories)}, {len(classes)} names")


def _count(number: int, what: str) -> str:
    plural = what + ("es" if what.endswith("x") else "s")
    return f"{number} {what if number == 1 else plural}"
