"""Boxes follow the picture through every transform, to the pixel."""

from __future__ import annotations

import numpy as np
import pytest
from detectron2.data import transforms as T

from detfinetune.config.resolved import RunAugment
from detfinetune.data.augment import (
    Augment,
    RandomObjectCrop,
    Rotate90Transform,
    build_augmentations,
    build_resize,
    visible_fractions,
)
from detfinetune.data.loaders import seed_everything
from detfinetune.data.sample import Sample
from detfinetune.models.family import InputSpec

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
    settings = RunAugment(
        image_size=200, max_size=400, crop_size=0, flip="both", rotate90=True, brightness=0.0,
        contrast=0.0, saturation=0.0,
    )  # fmt: skip
    seed_everything(seed)
    inputs = T.AugInput(picture(), boxes=BOX.copy())
    inputs.batch_draws = (np.random.rand(), np.random.rand())
    T.AugmentationList(build_augmentations(settings, InputSpec()))(inputs)
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


@pytest.mark.parametrize(("height", "width"), [(100, 140), (60, 300), (300, 60)])
def test_images_of_any_shape_are_scaled_around_their_size_in_testing(
    height: int, width: int
) -> None:
    """A long image, whose size `max_size` limits, gets the whole range too."""
    settings = RunAugment(image_size=100, max_size=160, crop_size=0, scale_jitter=(0.5, 1.5))
    image = picture(height, width)
    tested = build_resize(settings, InputSpec()).get_transform(image)
    scale = build_augmentations(settings, InputSpec())[0]
    drawn = [scale.get_transform(image, (draw, 0.0)) for draw in np.linspace(0, 1, 100, False)]
    factors = np.array([[t.new_h / tested.new_h, t.new_w / tested.new_w] for t in drawn])
    # Sides are whole pixels, the shortest 16.
    assert factors.min() == pytest.approx(0.5, abs=0.05)
    assert factors.max() == pytest.approx(1.5, abs=0.05)
    assert factors.mean() == pytest.approx(1, abs=0.05)


def test_a_crop_bounds_zoomed_in_images_and_leaves_small_ones_as_they_are() -> None:
    """Large-scale jitter: sides of 50 to 150 and 70 to 210 pixels, a canvas of 110."""
    settings = RunAugment(image_size=100, max_size=200, crop_size=110, scale_jitter=(0.5, 1.5))
    step = Augment(build_augmentations(settings, InputSpec()), 0.3)
    seed_everything(0)
    sample = Sample(picture(100, 140), BOX.copy(), np.array([0]), None, 100, 140)
    found = [step(sample) for _ in range(200)]
    sizes = {one.image.shape[:2] for one in found}
    assert {max(size) for size in sizes} <= set(range(70, 111))
    assert (110, 110) in sizes
    whole = [size for size in sizes if size[1] < 110]
    assert min(whole) == (50, 70)
    assert all(width == pytest.approx(1.4 * height, abs=1) for height, width in whole)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for one in found for box in one.boxes]
    # The box is 800 px² large.
    assert max(areas) == pytest.approx(1800, rel=0.05)


def test_visible_fraction_of_boxes_at_the_edge() -> None:
    boxes = np.array(
        [[0, 0, 10, 10], [-5, 0, 5, 10], [-5, -5, 5, 5], [30, 30, 40, 40], [1, 1, 1, 5]]
    )
    fractions = visible_fractions(boxes.astype(float), (20, 20))
    assert fractions.tolist() == [1.0, 0.5, 0.25, 0.0, 0.0]


def augmented(config: RunAugment, masks: bool, min_visible: float) -> Sample:
    """An image with an object at its upper left corner, as it is trained on."""
    corner = np.array([0.0, 0.0, 40.0, 0.0, 40.0, 30.0, 0.0, 30.0])
    sample = Sample(
        picture(100, 100), np.array([[0.0, 0.0, 40.0, 30.0]]), np.array([0]),
        [[corner]] if masks else None, 100, 100,
    )  # fmt: skip
    return Augment(build_augmentations(config, InputSpec()), min_visible)(sample)


def test_a_wholly_visible_object_stays_with_the_highest_min_visible() -> None:
    plain = RunAugment(
        image_size=100, max_size=100, crop_size=0, flip="none", scale_jitter=(1.0, 1.0)
    )
    assert len(augmented(plain, masks=False, min_visible=1.0).boxes) == 1


@pytest.mark.parametrize("masks", [False, True])
def test_boxes_of_rotated_objects_stay_in_the_image(masks: bool) -> None:
    seed_everything(0)
    turned = RunAugment(
        image_size=100, max_size=100, crop_size=0, scale_jitter=(1.0, 1.0), rotate_degrees=40
    )
    seen = 0
    for _ in range(10):
        for box in augmented(turned, masks, min_visible=0.1).boxes.tolist():
            assert min(box) >= 0
            assert max(box) <= 100
            seen += 1
    assert seen >= 5


@pytest.mark.parametrize(("limit", "kept"), [(0.0, 4), (0.25, 3), (0.3, 2), (0.5, 2), (0.6, 1)])
def test_objects_of_which_too_little_is_left_are_dropped(limit: float, kept: int) -> None:
    """The crop leaves all, half, a quarter, a twentieth and nothing of five objects."""
    x = np.array([60.0, 45.0, 35.0, 31.0, 10.0])
    boxes = np.stack(
        [x, np.full(5, 10.0), x + np.array([10, 10, 20, 20, 10]), np.full(5, 20.0)], axis=1
    )
    sample = Sample(picture(), boxes, np.arange(5), None, 100, 140)
    found = Augment([T.CropTransform(50, 0, 90, 100)], limit)(sample)
    assert found.class_ids.tolist() == list(range(kept))
    assert found.boxes[0].tolist() == [10.0, 10.0, 20.0, 20.0]
    # What is left of each lies at the edge of the crop.
    assert found.boxes[1:].tolist() == [[0.0, 10.0, right, 20.0] for right in [5, 5, 1][: kept - 1]]
    assert found.image.shape == (100, 90, 3)
    assert (found.height, found.width) == (100, 140)


def test_an_object_whose_box_is_in_the_crop_but_not_its_outline_is_dropped() -> None:
    """Of two triangles below the diagonals of their boxes, the first is out of sight."""
    outlines = [[np.array([x, 0.0, x, 40.0, x + 40, 40.0])] for x in (20.0, 80.0)]
    boxes = np.array([[20.0, 0.0, 60.0, 40.0], [80.0, 0.0, 120.0, 40.0]])
    sample = Sample(picture(), boxes, np.array([0, 1]), outlines, 100, 140)  # type: ignore[arg-type]
    found = Augment([T.CropTransform(41, 0, 99, 15)], 0.1)(sample)
    assert found.class_ids.tolist() == [1]
    assert found.boxes.tolist() == [[39.0, 0.0, 54.0, 15.0]]
    assert len(found.masks or ()) == 1


@pytest.mark.parametrize(
    ("resize", "size"), [("shortest_edge", (64, 90)), ("square", (64, 64))]
)  # fmt: skip
def test_a_family_chooses_how_images_are_resized(resize: str, size: tuple[int, int]) -> None:
    spec = InputSpec(resize=resize)  # type: ignore[arg-type]
    settings = RunAugment(image_size=64, max_size=100, crop_size=0)
    step = Augment([build_resize(settings, spec)])
    found = step(Sample(picture(), BOX.copy(), np.array([0]), None, 100, 140))
    assert found.image.shape == (*size, 3)
    factors = [size[1] / 140, size[0] / 100] * 2
    assert found.boxes[0].tolist() == pytest.approx((BOX[0] * factors).tolist())
