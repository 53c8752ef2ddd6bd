"""Random augmentation for training, on Detectron2's transforms.

Boxes and polygons follow each transform exactly. Random values come from numpy's global generator,
as in Detectron2's own augmentations; the loader seeds it for each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import CropTransform, NoOpTransform, Transform
from numpy.typing import NDArray

from detfinetune.config.resolved import RunAugment
from detfinetune.data.resize import ResizeShortestEdge
from detfinetune.data.sample import Mask, Sample
from detfinetune.models.family import InputSpec

BatchDraws = tuple[float, float] | None
"""Random numbers in [0, 1) that the images of a batch have in common: scale and orientation.

A batch is padded to its largest image, so images of different shapes would waste a third of a step.
"""

# Most of an aerial image is empty, and so would be most crops placed at random.
_OBJECT_CROP_PROBABILITY = 0.7
# Of float64 areas, so that a wholly visible object counts as 1.
_ROUNDING = 1e-9
# Detectron2's limit, below which a box counts as empty, pixels.
_SMALLEST_SIDE = 1e-5


def build_augmentations(augment: RunAugment, spec: InputSpec) -> list[T.Augmentation]:
    """Return the augmentations of training images."""
    steps = [build_resize(augment, spec, augment.scale_jitter)]
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


def build_resize(
    augment: RunAugment, spec: InputSpec, jitter: tuple[float, float] | None = None
) -> T.Augmentation:
    """Return the resizing that a model wants; `jitter` is the range of a random factor."""
    size, longest = augment.image_size, augment.max_size
    if spec.resize == "square":
        return T.Resize((size, size))
    if jitter is None:
        return ResizeShortestEdge(size, longest)
    return RandomResize(size, longest, jitter, same_in_batch=not augment.crop_size)


class Augment:
    """Transforms samples: the second of the steps load, augment, pack."""

    def __init__(
        self,
        augmentations: Sequence[T.Augmentation],
        min_visible: float = 0.0,
        then: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize the step.

        Args:
            augmentations: applied in order.
            min_visible: drop objects of which less than this share of the box is left.
            then: applied at the end.
        """
        self.augmentations = T.AugmentationList(list(augmentations))
        self.min_visible = min_visible
        self.then = then

    def __call__(self, sample: Sample, batch_draws: BatchDraws = None) -> Sample:
        """Return the transformed sample, without the objects that are out of sight."""
        inputs = T.AugInput(sample.image, boxes=sample.boxes.copy())
        inputs.batch_draws = batch_draws or (np.random.rand(), np.random.rand())
        transforms = self.augmentations(inputs)
        height, width = inputs.image.shape[:2]
        boxes = sample.boxes
        if len(boxes):
            boxes = transforms.apply_box(boxes)
        visible = visible_fractions(boxes, (height, width))
        seen = (visible > 0) & (visible >= self.min_visible - _ROUNDING)
        boxes = np.minimum(boxes.clip(min=0), [width, height, width, height])
        found = replace(sample, image=inputs.image, boxes=boxes).keep(seen)
        if found.masks is not None:
            masks = [_transformed(mask, transforms) for mask in found.masks]
            # The box of a rotated outline is tighter than the rotated box.
            tight = np.array([mask_box(mask) for mask in masks]).reshape(-1, 4)
            boxes = np.clip(tight, 0, [width, height, width, height])
            found = replace(found, masks=masks, boxes=boxes)
        sides = found.boxes[:, 2:].astype(np.float32) - found.boxes[:, :2].astype(np.float32)
        found = found.keep(sides.min(axis=1, initial=1) > _SMALLEST_SIDE)
        return self.then(found) if self.then else found


def _transformed(mask: Mask, transforms: T.TransformList) -> Mask:
    if isinstance(mask, np.ndarray):
        bitmap: NDArray[np.uint8] = transforms.apply_segmentation(mask)
        return bitmap
    polygons = transforms.apply_polygons([polygon.reshape(-1, 2) for polygon in mask])
    return [polygon.reshape(-1) for polygon in polygons]


def mask_box(mask: Mask) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2; zeros for an empty bitmap, or an outline outside of a crop."""
    if isinstance(mask, np.ndarray):
        x, y = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        return (x[0], y[0], x[-1] + 1, y[-1] + 1) if len(x) else (0, 0, 0, 0)
    if not mask:
        return 0, 0, 0, 0
    points = np.concatenate(mask).reshape(-1, 2)
    return (*points.min(axis=0), *points.max(axis=0))


def visible_fractions(boxes: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return the fraction of each XYXY box's area that lies inside an image of `size` (h, w)."""
    height, width = size
    inside = np.clip(boxes, 0, [width, height, width, height])
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left: NDArray[Any] = np.prod(inside[:, 2:] - inside[:, :2], axis=1)
    fractions: NDArray[Any] = np.divide(left, area, out=np.zeros_like(left), where=area > 0)
    return fractions


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


class RandomResize(T.Augmentation):  # type: ignore[misc]
    """Resize as for testing, times a random factor."""

    def __init__(
        self, size: int, longest: int, jitter: tuple[float, float], *, same_in_batch: bool
    ) -> None:
        """Initialize the augmentation.

        Args:
            size: shorter side in testing, pixels.
            longest: limit of the longer side in testing, pixels.
            jitter: range of the factor.
            same_in_batch: whether images of a batch get the same one.
        """
        super().__init__()
        self._init(
            {"size": size, "longest": longest, "jitter": jitter, "same_in_batch": same_in_batch}
        )

    def get_transform(self, image: NDArray[Any], batch_draws: tuple[float, float]) -> Transform:
        """Draw the factor; it applies to both sizes, or images at the limit would get none."""
        low, high = (round(self.size * factor) for factor in self.jitter)
        draw = batch_draws[0] if self.same_in_batch else np.random.rand()
        size = low + int(draw * (high - low + 1))
        longest = round(self.longest * size / self.size)
        return ResizeShortestEdge(size, longest).get_transform(image)


class RandomRotate90(T.Augmentation):  # type: ignore[misc]
    """Rotate by 0, 90, 180 or 270 degrees with equal probability.

    Images of a batch that are not square all become upright, or all become wide.
    """

    def get_transform(self, image: NDArray[Any], batch_draws: tuple[float, float]) -> Transform:
        """Draw the angle."""
        height, width = image.shape[:2]
        turns = int(np.random.randint(4))
        if height != width:
            turns = turns // 2 * 2 + ((width > height) != (batch_draws[1] < 0.5))
        return Rotate90Transform(turns, height, width)


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
