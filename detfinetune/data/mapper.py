"""Map dataset records to the input dicts of Detectron2 models."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from numpy.typing import NDArray

from detfinetune.console import command_line
from detfinetune.data.resize import ResizeShortestEdge
from detfinetune.errors import DataError
from detfinetune.image_files import IMAGE_ERRORS, describe_image_error, open_image_file

MaskFormat = Literal["polygon", "bitmask"]
# Of float64 areas, so that a wholly visible object counts as 1.
_ROUNDING = 1e-9


def decode_image(path: Path | str, image_format: str) -> NDArray[np.uint8]:
    """Return an image as HxWx3 in `image_format` (RGB or BGR), rotated by its EXIF flag.

    Raises:
        ConfigError: the limit of its size is not a number.
        IMAGE_ERRORS: it is missing, damaged or too large.
    """
    with open_image_file(path) as file:
        # Decode before reading EXIF: detection_utils.read_image ignores a decoding error there and
        # returns a partly decoded image.
        file.load()
        rotated = detection_utils._apply_exif_orientation(file)
        pixels: NDArray[np.uint8] = detection_utils.convert_PIL_to_numpy(rotated, image_format)
    return pixels


def read_image(record: dict[str, Any], image_format: str) -> NDArray[np.uint8]:
    """Read a record's image as HxWx3 in `image_format` (RGB or BGR), rotated by its EXIF flag.

    Raises:
        DataError: the file is missing or damaged, or its size is not the one in the record.
    """
    path = record["file_name"]
    try:
        image = decode_image(path, image_format)
    except IMAGE_ERRORS as error:
        raise DataError(
            f"{path}: {describe_image_error(error)}. Replace or remove it. To list "
            f"all such images, run {command_line('check')}"
        ) from error
    height, width = image.shape[:2]
    if (width, height) != (record["width"], record["height"]):
        raise DataError(
            f"{path}: the image has {width}x{height} px, but had "
            f"{record['width']}x{record['height']} px when the labels were read. Restore it or "
            "start a new run."
        )
    return image


class TrainMapper:
    """Read, augment and pack one training image."""

    def __init__(
        self,
        augmentations: Sequence[T.Augmentation],
        image_format: str,
        mask_format: MaskFormat | None,
        min_visible: float,
    ) -> None:
        self.augmentations = T.AugmentationList(list(augmentations))
        self.image_format = image_format
        self.mask_format = mask_format
        self.min_visible = min_visible

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the input dict of a Detectron2 model: `image` (CxHxW, 0-255), `instances`."""
        record = copy.deepcopy(record)
        image = read_image(record, self.image_format)
        annotations = [
            item
            for item in record.pop("annotations")
            if not item.get("iscrowd", 0) and (self.mask_format is None or "segmentation" in item)
        ]
        boxes = np.array(
            [
                BoxMode.convert(item["bbox"], item["bbox_mode"], BoxMode.XYXY_ABS)
                for item in annotations
            ],
            dtype=np.float64,
        ).reshape(-1, 4)
        inputs = T.AugInput(image, boxes=boxes.copy())
        transforms = self.augmentations(inputs)
        image = inputs.image
        size = image.shape[:2]
        record["image"] = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        if len(boxes):
            boxes = transforms.apply_box(boxes)
        kept = [
            self._transformed(item, transforms, size)
            for item, visible in zip(annotations, visible_fractions(boxes, size), strict=True)
            if visible > 0 and visible >= self.min_visible - _ROUNDING
        ]
        instances = detection_utils.annotations_to_instances(
            kept, size, mask_format=self.mask_format or "polygon"
        )
        if self.mask_format and instances.has("gt_masks"):
            # The bounding box of a transformed polygon is tighter than the transformed box.
            instances.gt_boxes = instances.gt_masks.get_bounding_boxes()
            # Rotation leaves polygons beyond the edges.
            instances.gt_boxes.clip(size)
        record["instances"] = detection_utils.filter_empty_instances(instances)
        return record

    def _transformed(
        self, item: dict[str, Any], transforms: T.TransformList, size: tuple[int, int]
    ) -> dict[str, Any]:
        item.pop("keypoints", None)
        if self.mask_format is None:
            item.pop("segmentation", None)
        done: dict[str, Any] = detection_utils.transform_instance_annotations(
            item, transforms, size
        )
        if self.mask_format == "bitmask" and isinstance(done.get("segmentation"), list):
            done["segmentation"] = detection_utils.polygons_to_bitmask(done["segmentation"], *size)
        return done


def visible_fractions(boxes: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return the fraction of each XYXY box's area that lies inside an image of `size` (h, w)."""
    height, width = size
    inside = np.clip(boxes, 0, [width, height, width, height])
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left: NDArray[Any] = np.prod(inside[:, 2:] - inside[:, :2], axis=1)
    fractions: NDArray[Any] = np.divide(left, area, out=np.zeros_like(left), where=area > 0)
    return fractions


class TestMapper:
    """Read and resize one image for evaluation or prediction."""

    __test__ = False  # not a test class, despite its name

    def __init__(self, image_size: int, max_size: int, image_format: str) -> None:
        self.resize = ResizeShortestEdge(image_size, max_size)
        self.image_format = image_format

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the input dict; `height` and `width` are those of the file."""
        record = {key: value for key, value in record.items() if key != "annotations"}
        record["image"] = self.tensor(read_image(record, self.image_format))
        return record

    def tensor(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """Resize an HxWx3 image and return it as CxHxW."""
        inputs = T.AugInput(image)
        self.resize(inputs)
        return torch.from_numpy(np.ascontiguousarray(inputs.image.transpose(2, 0, 1)))
