"""Load, augment and pack give what Detectron2's own utilities make of the same record."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances, PolygonMasks
from PIL import Image
from pycocotools import mask as mask_api
from run_configs import run_config

from detfinetune.config.resolved import RunAugment
from detfinetune.data.augment import Augment, build_augmentations, build_resize
from detfinetune.data.load import LoadSample
from detfinetune.data.loaders import seed_everything
from detfinetune.data.pipeline import Pipeline, build_test_pipeline, build_train_pipeline
from detfinetune.models.family import InputSpec
from detfinetune.models.rcnn.pack import pack

HEIGHT, WIDTH = 120, 160
MIN_VISIBLE = 0.3
PLAIN = RunAugment(image_size=120, max_size=200, crop_size=0, flip="none", scale_jitter=(1, 1))
AUGMENTATIONS = {
    "resize": {"scale_jitter": (0.6, 1.5)},
    "crop": {"crop_size": 70},
    "rotation": {"rotate_degrees": 40},
    "flips": {"flip": "both"},
    "quarter turns": {"rotate90": True},
    "all": {"scale_jitter": (0.6, 1.5), "crop_size": 90, "rotate_degrees": 20, "flip": "both",
            "rotate90": True},
}  # fmt: skip


def polygon_object(generator: np.random.Generator) -> dict[str, Any]:
    """One or two parts of five corners; the box is that of the outline."""
    parts = []
    for _ in range(int(generator.integers(1, 3))):
        centre = generator.uniform([20, 20], [WIDTH - 20, HEIGHT - 20])
        angles = np.sort(generator.uniform(0, 2 * np.pi, 5))
        corners = centre + 18 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        parts.append(corners.reshape(-1).tolist())
    points = np.concatenate(parts).reshape(-1, 2)
    box = [*points.min(axis=0), *points.max(axis=0)]
    return {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "segmentation": parts}


def bitmap_object(generator: np.random.Generator) -> dict[str, Any]:
    """A disc as compressed RLE."""
    x, y = generator.uniform([20, 20], [WIDTH - 20, HEIGHT - 20])
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    bitmap = ((columns - x) ** 2 + (rows - y) ** 2 < 15**2).astype(np.uint8)
    rle = mask_api.encode(np.asfortranarray(bitmap))
    box = mask_api.toBbox(rle).tolist()
    return {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "segmentation": rle}


MAKERS = {
    "polygons": [polygon_object],
    "bitmaps": [bitmap_object],
    "mixed": [polygon_object, bitmap_object],
}


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def record(image_file: Path, kind: str, seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    makers = MAKERS[kind]
    objects = [
        {**makers[number % len(makers)](generator), "iscrowd": 0, "category_id": number % 3}
        for number in range(8)
    ]
    return {
        "file_name": str(image_file), "height": HEIGHT, "width": WIDTH, "image_id": 7,
        "annotations": objects,
    }  # fmt: skip


def pipeline(augment: RunAugment, masks: bool) -> Pipeline:
    steps = build_augmentations(augment, InputSpec())
    return Pipeline(LoadSample("RGB", masks), Augment(steps, MIN_VISIBLE), pack)


def visible(box: np.ndarray, height: int, width: int) -> float:
    """The share of a box that is inside the image, one side after the other."""
    x1, y1, x2, y2 = box
    w = min(x2, width) - max(x1, 0)
    h = min(y2, height) - max(y1, 0)
    return max(w, 0) * max(h, 0) / ((x2 - x1) * (y2 - y1))


def of_detectron2(
    record: dict[str, Any], augment: RunAugment, masks: bool
) -> tuple[np.ndarray, Instances]:
    """Image and instances by Detectron2's utilities, as in its `DatasetMapper`."""
    record = copy.deepcopy(record)
    image = detection_utils.read_image(record["file_name"], "RGB")
    boxes = np.array(
        [
            BoxMode.convert(o["bbox"], o["bbox_mode"], BoxMode.XYXY_ABS)
            for o in record["annotations"]
        ]
    )
    inputs = T.AugInput(image, boxes=boxes)
    inputs.batch_draws = (np.random.rand(), np.random.rand())
    transforms = T.AugmentationList(build_augmentations(augment, InputSpec()))(inputs)
    size = inputs.image.shape[:2]
    kept = []
    for box, item in zip(boxes, record["annotations"], strict=True):
        if visible(transforms.apply_box(box[None])[0], *size) < MIN_VISIBLE:
            continue
        if not masks:
            item.pop("segmentation")
        item = detection_utils.transform_instance_annotations(item, transforms, size)
        # Detectron2 cannot do with an object of whose outline a crop leaves nothing.
        if not masks or len(item["segmentation"]):
            kept.append(item)
    bitmaps = masks and any(isinstance(item["segmentation"], np.ndarray) for item in kept)
    instances = detection_utils.annotations_to_instances(
        kept, size, "bitmask" if bitmaps else "polygon"
    )
    if masks and kept:
        # Each object's box is that of its mask, as DatasetMapper's `recompute_boxes` makes it.
        instances.gt_boxes = Boxes.cat([mask_box(item["segmentation"]) for item in kept])
        instances.gt_boxes.clip(size)
    return inputs.image, detection_utils.filter_empty_instances(instances)


def mask_box(mask: Any) -> Boxes:
    if isinstance(mask, list):
        return PolygonMasks([mask]).get_bounding_boxes()
    return BitMasks(np.ascontiguousarray(mask)[None]).get_bounding_boxes()


def check_equal(one: Instances, other: Instances) -> None:
    assert one.image_size == other.image_size
    assert torch.equal(one.gt_boxes.tensor, other.gt_boxes.tensor)
    assert one.gt_boxes.tensor.dtype == other.gt_boxes.tensor.dtype
    assert torch.equal(one.gt_classes, other.gt_classes)
    if len(other) and other.has("gt_masks"):
        assert type(one.gt_masks) is type(other.gt_masks)
        if isinstance(one.gt_masks, BitMasks):
            assert torch.equal(one.gt_masks.tensor, other.gt_masks.tensor)
        else:
            for ours, theirs in zip(one.gt_masks.polygons, other.gt_masks.polygons, strict=True):
                assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    else:
        assert not one.has("gt_masks")


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize(
    ("kind", "masks"),
    [("polygons", False), ("polygons", True), ("bitmaps", True), ("mixed", True)],
)
def test_instances_are_those_of_detectron2(
    image_file: Path, name: str, kind: str, masks: bool
) -> None:
    augment = PLAIN.model_copy(update=AUGMENTATIONS[name])
    steps = pipeline(augment, masks)
    kept = 0
    for seed in range(12):
        given = record(image_file, kind, seed)
        seed_everything(seed)
        image, expected = of_detectron2(given, augment, masks)
        seed_everything(seed)
        sample = steps.sample(given)
        (packed,) = steps.pack([sample])
        assert np.array_equal(sample.image, image)
        assert np.array_equal(sample.boxes.astype(np.float32), expected.gt_boxes.tensor.numpy())
        assert torch.equal(packed["image"], torch.from_numpy(image.transpose(2, 0, 1).copy()))
        check_equal(packed["instances"], expected)
        assert (packed["height"], packed["width"]) == (HEIGHT, WIDTH)
        kept += len(expected)
    # Some objects are lost, and most are not.
    assert 30 < kept <= 96
    assert (kept < 96) is (name in ("crop", "all"))


def test_no_object_is_one_without_masks_or_a_crowd(image_file: Path) -> None:
    given = record(image_file, "polygons", 0)
    given["annotations"][1]["iscrowd"] = 1
    del given["annotations"][2]["segmentation"]
    before = copy.deepcopy(given)
    boxes, masks = (LoadSample("RGB", with_masks)(given) for with_masks in (False, True))
    assert (boxes.class_ids.tolist(), boxes.masks) == ([0, 2, 0, 1, 2, 0, 1], None)
    assert masks.class_ids.tolist() == [0, 0, 1, 2, 0, 1]
    assert len(masks.masks or ()) == len(masks.boxes) == 6
    assert (masks.height, masks.width, masks.image_id) == (HEIGHT, WIDTH, 7)
    assert given == before


def test_an_image_without_objects_is_a_negative(image_file: Path) -> None:
    given = {**record(image_file, "mixed", 0), "annotations": []}
    for masks in (False, True):
        steps = pipeline(PLAIN.model_copy(update=AUGMENTATIONS["all"]), masks)
        (packed,) = steps.pack([steps.sample(given)])
        assert len(packed["instances"]) == 0
        assert packed["instances"].gt_boxes.tensor.shape == (0, 4)
        assert not packed["instances"].has("gt_masks")


def test_images_are_loaded_in_the_channel_order_of_the_model(image_file: Path) -> None:
    given = record(image_file, "polygons", 0)
    rgb, bgr = (LoadSample(order, masks=False)(given).image for order in ("RGB", "BGR"))  # type: ignore[arg-type]
    assert np.array_equal(rgb, bgr[:, :, ::-1])
    with Image.open(image_file) as picture:
        assert np.array_equal(rgb, np.asarray(picture))


@pytest.mark.parametrize(
    ("name", "task", "color", "masks"),
    [
        ("timm/test_efficientnet", "bbox", "RGB", False),
        ("timm/test_efficientnet", "segm", "RGB", True),
        ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x", "segm", "BGR", True),
    ],
)
def test_a_run_has_the_steps_of_its_configuration(
    image_file: Path, name: str, task: str, color: str, masks: bool
) -> None:
    config = run_config(
        task=task, model={"name": name, "weights": "random"},
        augment={"image_size": 60, "max_size": 70, "crop_size": 40, "min_visible": 0.2},
    )  # fmt: skip
    given = record(image_file, "polygons", 0)
    train = build_train_pipeline(config, ("a", "b", "c"))
    assert isinstance(train.load, LoadSample)
    assert (train.load.color, train.load.masks) == (color, masks)
    assert isinstance(train.augment, Augment)
    assert train.augment.min_visible == 0.2
    assert train.sample(given).image.shape == (40, 40, 3)
    for labels in (False, True):
        test = build_test_pipeline(config, ("a", "b", "c"), labels=labels)
        sample = test.sample(given)
        assert sample.image.shape == (53, 70, 3)
        assert (sample.masks is not None) is (masks and labels)
        resized = Augment([build_resize(config.augment, InputSpec())])(test.load(given))
        assert np.array_equal(sample.image, resized.image)
        assert len(sample.boxes) == 8
        assert train.pack is test.pack is pack
