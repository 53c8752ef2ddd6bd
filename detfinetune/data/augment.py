"""Random augmentation for training, on Detectron2's transforms.

Boxes and polygons follow each transform exactly. Random values come from numpy's global generator,
as in Detectron2's own augmentations; the loader seeds it for each sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, NoOpTransform, Transform
from numpy.typing import NDArray

from detfinetune.config.schema import AugmentConfig
from detfinetune.data.resize import ResizeShortestEdge

# Most of an aerial image is empty, and so would be most crops placed at random.
_OBJECT_CROP_PROBABILITY = 0.7


def build_augmentations(augment: AugmentConfig) -> list[T.Augmentation]:
    """Return the training augmentations for resolved settings (sizes not null)."""
    size, longest = augment.image_size, augment.max_size
    if size is None or longest is None or augment.crop_size is None:
        raise ValueError("augment must be resolved first (engine.recipe.resolve_recipe)")
    low, high = augment.scale_jitter
    steps: list[T.Augmentation] = [
        ResizeShortestEdge(
            (round(size * low), round(size * high)), round(longest * high), sample_style="range"
        )
    ]
    if augment.rotate_degrees:
        angle = augment.rotate_degrees
        steps.append(T.RandomRotation([-angle, angle], expand=False))
    if augment.crop_size:
        steps.append(RandomObjectCrop(augment.crop_size))
    if augment.flip in ("horizontal", "both"):
        steps.append(T.RandomFlip(horizontal=True, vertical=False))
    if augment.flip in ("vertical", "both"):
        steps.append(T.RandomFlip(horizontal=False, vertical=True))
    if augment.rotate90:
        steps.append(RandomRotate90())
    for change, strength in (
        (T.RandomBrightness, augment.brightness),
        (T.RandomContrast, augment.contrast),
        (T.RandomSaturation, augment.saturation),
    ):
        if strength:
            steps.append(change(1 - strength, 1 + strength))
    return steps


class Rotate90Transform(Transform):  # type: ignore[misc]
    """Rotate counter-clockwise by multiples of 90 degrees, without interpolation."""

    def __init__(self, quarter_turns: int, height: int, width: int) -> None:
        super().__init__()
        self._set_attributes({"quarter_turns": quarter_turns % 4, "height": height, "width": width})

    def apply_image(self, img: NDArray[Any]) -> NDArray[Any]:
        """Rotate an image, HxW or HxWxC."""
        return np.ascontiguousarray(np.rot90(img, self.quarter_turns))

    def apply_coords(self, coords: NDArray[Any]) -> NDArray[Any]:
        """Rotate Nx2 points (x, y) in absolute coordinates."""
        x, y = coords[:, 0], coords[:, 1]
        rotated = {
            0: (x, y),
            1: (y, self.width - x),
            2: (self.width - x, self.height - y),
            3: (self.height - y, x),
        }[self.quarter_turns]
        return np.stack(rotated, axis=1)

    def apply_segmentation(self, segmentation: NDArray[Any]) -> NDArray[Any]:
        """Rotate a mask, HxW."""
        return self.apply_image(segmentation)


class RandomRotate90(T.Augmentation):  # type: ignore[misc]
    """Rotate by 0, 90, 180 or 270 degrees with equal probability."""

    def get_transform(self, image: NDArray[Any]) -> Transform:
        """Draw the angle."""
        return Rotate90Transform(int(np.random.randint(4)), *image.shape[:2])


class RandomObjectCrop(T.Augmentation):  # type: ignore[misc]
    """Crop a square, at most as large as the image.

    With probability 0.7 the crop contains the centre of a randomly drawn object.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self._init({"side": side})

    def get_transform(self, image: NDArray[Any], boxes: NDArray[Any] | None) -> Transform:
        """Draw the position; `boxes` are XYXY in absolute coordinates, or None."""
        height, width = image.shape[:2]
        crop_h, crop_w = min(self.side, height), min(self.side, width)
        if (crop_h, crop_w) == (height, width):
            return NoOpTransform()
        low = np.array([0, 0])
        high = np.array([width - crop_w, height - crop_h])
        if boxes is not None and len(boxes) and np.random.rand() < _OBJECT_CROP_PROBABILITY:
            box = boxes[np.random.randint(len(boxes))]
            centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
            nearest = np.clip(np.ceil(centre - (crop_w, crop_h)), low, high).astype(int)
            furthest = np.clip(np.floor(centre), low, high).astype(int)
            low, high = nearest, np.maximum(nearest, furthest)
        x = int(np.random.randint(low[0], high[0] + 1))
        y = int(np.random.randint(low[1], high[1] + 1))
        return CropTransform(x, y, crop_w, crop_h, orig_w=width, orig_h=height)
