"""Boxes follow the picture through every transform, to the pixel."""

from __future__ import annotations

import numpy as np
import pytest
from detectron2.data import transforms as T

from detfinetune.config.schema import AugmentConfig
from detfinetune.data.augment import (
    RandomObjectCrop,
    Rotate90Transform,
    build_augmentations,
)
from detfinetune.data.loaders import seed_everything
from detfinetune.data.mapper import visible_fractions

BOX = np.array([[10.0, 20.0, 30.0, 60.0]])


def picture(height: int = 100, width: int = 140) -> np.ndarray:
    """A black picture with a white box at BOX."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[20:60, 10:30] = 255
    return image


def white_box(image: np.ndarray) -> list[float]:
    """XYXY of what is white."""
    ys, xs = np.nonzero(image[..., 0] > 127)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_quarter_turns_move_the_box_with_the_picture(turns: int) -> None:
    image = picture()
    turn = Rotate90Transform(turns, *image.shape[:2])
    assert turn.apply_box(BOX)[0].tolist() == white_box(turn.apply_image(image))


@pytest.mark.parametrize("seed", range(20))
def test_all_augmentations_together_keep_box_and_picture_together(seed: int) -> None:
    settings = AugmentConfig(
        image_size=200, max_size=400, crop_size=0, flip="both", rotate90=True, brightness=0.0,
        contrast=0.0, saturation=0.0,
    )  # fmt: skip
    seed_everything(seed)
    inputs = T.AugInput(picture(), boxes=BOX.copy())
    T.AugmentationList(build_augmentations(settings))(inputs)
    # Resizing blurs the rim by about a pixel.
    np.testing.assert_allclose(inputs.boxes[0], white_box(inputs.image), atol=1.5)


def test_crops_hold_the_centre_of_an_object_seven_times_in_ten() -> None:
    crop = RandomObjectCrop(40)
    image = picture(400, 400)
    hits = 0
    seed_everything(0)
    for _ in range(400):
        transform = crop.get_transform(image, BOX)
        x0, y0 = transform.x0, transform.y0
        assert (transform.w, transform.h) == (40, 40)
        assert 0 <= x0 <= 360
        assert 0 <= y0 <= 360
        hits += x0 <= 20 <= x0 + 40 and y0 <= 40 <= y0 + 40
    assert 250 <= hits <= 310


def test_crop_larger_than_the_picture_takes_all_of_it() -> None:
    transform = RandomObjectCrop(500).get_transform(picture(), BOX)
    np.testing.assert_array_equal(transform.apply_image(picture()), picture())


def test_visible_fraction_of_boxes_at_the_edge() -> None:
    boxes = np.array(
        [[0, 0, 10, 10], [-5, 0, 5, 10], [-5, -5, 5, 5], [30, 30, 40, 40], [1, 1, 1, 5]]
    )
    fractions = visible_fractions(boxes.astype(float), (20, 20))
    assert fractions.tolist() == [1.0, 0.5, 0.25, 0.0, 0.0]
