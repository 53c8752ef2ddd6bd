"""Load images and records as samples: the first of the steps load, augment, pack."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from detectron2.data import detection_utils
from detectron2.structures import BoxMode
from numpy.typing import NDArray
from pycocotools import mask as mask_api

from detfinetune.console import command_line
from detfinetune.data.sample import Mask, Sample, as_polygons
from detfinetune.data.window import Window, apply_window
from detfinetune.errors import DataError
from detfinetune.image_files import (
    IMAGE_ERRORS,
    describe_image_error,
    is_deep_grey,
    open_image_file,
)

Color = Literal["RGB", "BGR"]


def decode_image(path: Path | str, color: Color, window: Window | None = None) -> NDArray[np.uint8]:
    """Return an image as HxWx3 in `color` order, rotated by its EXIF flag.

    Args:
        path: image file.
        color: order of the channels.
        window: for grey levels of more than 8 bits.

    Raises:
        DataError: it has such grey levels, and there is no window.
        ConfigError: the limit of its size is not a number.
        IMAGE_ERRORS: it is missing, damaged or too large.
    """
    with open_image_file(path) as file:
        # Decode before reading EXIF: detection_utils.read_image ignores a decoding error there and
        # returns a partly decoded image.
        file.load()
        rotated = detection_utils._apply_exif_orientation(file)
        if is_deep_grey(rotated):
            return apply_window(np.asarray(rotated), window, str(path))
        pixels: NDArray[np.uint8] = detection_utils.convert_PIL_to_numpy(rotated, color)
    return pixels


def read_image(
    record: dict[str, Any], color: Color, window: Window | None = None
) -> NDArray[np.uint8]:
    """Read a record's image as HxWx3 in `color` order, rotated by its EXIF flag.

    Raises:
        DataError: the file is missing or damaged, or its size is not the one in the record.
    """
    path = record["file_name"]
    try:
        image = decode_image(path, color, window)
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


class LoadSample:
    """Reads the image of a Detectron2 record, with the objects to train on.

    Crowd regions are no objects; with masks, neither are objects without one.
    """

    def __init__(
        self,
        color: Color,
        masks: bool,
        window: Window | None = None,
        class_ids: NDArray[np.int64] | None = None,
    ) -> None:
        """Initialize the step.

        Args:
            color: order of the channels.
            masks: whether objects need masks.
            window: for grey levels of more than 8 bits.
            class_ids: the model's, by class id of the data; None: the same.
        """
        self.color = color
        self.window = window
        self.masks = masks
        self.class_ids = class_ids

    def __call__(self, record: dict[str, Any]) -> Sample:
        """Return the sample.

        Raises:
            DataError: the image cannot be read, or has changed.
        """
        image = read_image(record, self.color, self.window)
        objects = [
            item
            for item in record["annotations"]
            if not item.get("iscrowd", 0) and (not self.masks or "segmentation" in item)
        ]
        boxes = [
            BoxMode.convert(item["bbox"], item["bbox_mode"], BoxMode.XYXY_ABS) for item in objects
        ]
        class_ids = np.array([item["category_id"] for item in objects], dtype=np.int64)
        return Sample(
            image,
            np.array(boxes, dtype=np.float64).reshape(-1, 4),
            class_ids if self.class_ids is None else self.class_ids[class_ids],
            [_mask(item["segmentation"]) for item in objects] if self.masks else None,
            record["height"],
            record["width"],
            record["image_id"],
        )


def _mask(segmentation: Any) -> Mask:
    if isinstance(segmentation, dict):
        bitmap: NDArray[np.uint8] = mask_api.decode(segmentation)
        return bitmap
    return as_polygons(segmentation)
