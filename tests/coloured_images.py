"""Hand-made images whose objects can be found by their colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from detectron2.structures import polygons_to_bitmask

from detfinetune.data.sample import Mask, Sample

Kind = Literal["boxes", "polygons", "bitmaps"]
_CORNERS = [0, 1, 2, 1, 2, 3, 0, 3]


def coloured(
    height: int, width: int, boxes: Sequence[tuple[int, int, int, int]], kind: Kind, first: int = 0
) -> Sample:
    """Return a black image with a rectangle of its own colour for each box.

    Args:
        height: pixels.
        width: pixels.
        boxes: XYXY in whole pixels, which do not overlap.
        kind: of the masks.
        first: class id of the first box; the others count on from it.
    """
    image = np.zeros((height, width, 3), dtype=np.uint8)
    masks: list[Mask] = []
    for number, (x1, y1, x2, y2) in enumerate(boxes, start=first):
        # Red says that it is an object; blue, as a share of red, which.
        image[y1:y2, x1:x2] = (255, 0, 8 * number + 4)
        bitmap = np.zeros((height, width), dtype=np.uint8)
        bitmap[y1:y2, x1:x2] = 1
        outline = np.array([x1, y1, x2, y2], dtype=np.float64)[_CORNERS]
        masks.append(bitmap if kind == "bitmaps" else [outline])
    return Sample(
        image,
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.arange(first, first + len(boxes)),
        None if kind == "boxes" else masks,
        height,
        width,
    )


def pixels_by_class(image: np.ndarray) -> dict[int, np.ndarray]:
    """Return which pixels an object of each class covers by half or more; (H, W) each."""
    red, blue = image[:, :, 0].astype(float), image[:, :, 2].astype(float)
    inside = red > 127
    classes = np.full(red.shape, -1)
    classes[inside] = np.round((255 * blue[inside] / red[inside] - 4) / 8)
    # Grey, which fills up what has no image, has as much green as red.
    classes[image[:, :, 1] > 100] = -1
    return {int(number): classes == number for number in np.unique(classes[classes >= 0])}


def box_of(pixels: np.ndarray) -> list[int]:
    """Return the XYXY box of some pixels."""
    y, x = np.nonzero(pixels)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


def as_bitmap(mask: Mask, image: np.ndarray) -> np.ndarray:
    """Return a mask's pixels."""
    if isinstance(mask, np.ndarray):
        return mask.astype(bool)
    return np.asarray(polygons_to_bitmask(mask, *image.shape[:2]))


def check_objects_are_their_pixels(sample: Sample) -> int:
    """Check that what is seen of each class has one object, whose box and mask enclose it.

    Returns the number of objects. Edges may be off by half a pixel after resizing, and by one where
    pixels are those of a bitmap.
    """
    bitmaps = any(isinstance(mask, np.ndarray) for mask in sample.masks or ())
    found = pixels_by_class(sample.image)
    large = {number: pixels for number, pixels in found.items() if min(extent(pixels)) > 1}
    assert len(set(sample.class_ids.tolist())) == len(sample.class_ids)
    assert set(large) <= set(sample.class_ids.tolist())
    for number, box in zip(sample.class_ids.tolist(), sample.boxes, strict=True):
        if number in large:
            np.testing.assert_allclose(box, box_of(large[number]), atol=1 if bitmaps else 0.6)
        else:
            assert min(box[2:] - box[:2]) < 2
    for number, mask in zip(sample.class_ids.tolist(), sample.masks or (), strict=False):
        if number in large:
            bitmap = as_bitmap(mask, sample.image)
            edge = sum(extent(large[number]))
            assert (bitmap ^ large[number]).sum() <= edge
    return len(sample.boxes)


def extent(pixels: np.ndarray) -> tuple[int, int]:
    """Return the width and height of some pixels' box."""
    x1, y1, x2, y2 = box_of(pixels)
    return x2 - x1, y2 - y1
