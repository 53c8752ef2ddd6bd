"""Boxes follow the picture through every transform, to the pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode
from detfinetune.data.mapper import TrainMapper, visible_fractions
from PIL import Image

from detfinetune.config.schema import AugmentConfig
from detfinetune.data.augment import (
    RandomObjectCrop,
    Rotate90Transform,
    build_augmentations,
)
from detfinetune.data.loaders import seed_everything

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


def mapped(tmp_path: Path, config: AugmentConfig, masks: bool, min_visible: float) -> Boxes:
    """Boxes of the training input of one image with an object at its upper left corner."""
    Image.fromarray(picture(100, 100)).save(tmp_path / "a.png")
    corner = [0.0, 0.0, 40.0, 0.0, 40.0, 30.0, 0.0, 30.0]
    record = {
        "file_name": str(tmp_path / "a.png"), "height": 100, "width": 100, "image_id": 1,
        "annotations": [{"bbox": [0.0, 0.0, 40.0, 30.0], "bbox_mode": BoxMode.XYWH_ABS,
                         "category_id": 0, "iscrowd": 0, "segmentation": [corner]}],
    }  # fmt: skip
    mapper = TrainMapper(
        build_augmentations(config), "RGB", "polygon" if masks else None, min_visible
    )
    return mapper(record)["instances"].gt_boxes


def test_a_wholly_visible_object_stays_with_the_highest_min_visible(tmp_path: Path) -> None:
    plain = AugmentConfig(
        image_size=100, max_size=100, crop_size=0, flip="none", scale_jitter=(1.0, 1.0)
    )
    assert len(mapped(tmp_path, plain, masks=False, min_visible=1.0)) == 1


@pytest.mark.parametrize("masks", [False, True])
def test_boxes_of_rotated_objects_stay_in_the_image(tmp_path: Path, masks: bool) -> None:
    seed_everything(0)
    turned = AugmentConfig(
        image_size=100, max_size=100, crop_size=0, scale_jitter=(1.0, 1.0), rotate_degrees=40
    )
    for _ in range(10):
        for box in mapped(tmp_path, turned, masks, min_visible=0.1).tensor.tolist():
            assert min(box) >= 0
            assert max(box) <= 100
