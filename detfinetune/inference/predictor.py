"""A trained detector as a function of one image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from numpy.typing import NDArray

from detfinetune.config.hardware import detect_hardware
from detfinetune.config.schema import HardwareConfig
from detfinetune.data.mapper import TestMapper, decode_image
from detfinetune.errors import DataError
from detfinetune.image_files import IMAGE_ERRORS, describe_image_error
from detfinetune.labels.dataset.masks import segmentation_polygons
from detfinetune.labels.dataset.records import Box, Polygon
from detfinetune.models.checkpoint import FALLBACK_THRESHOLD, find_checkpoint, load_detector


@dataclass(frozen=True)
class FoundObject:
    """One detection."""

    name: str
    """Class name."""

    category: int
    """Contiguous class id, from 0."""

    score: float
    """0-1."""

    bbox: Box
    """xywh in pixels of the input image."""

    segmentation: dict[str, Any] | None = None
    """Mask as COCO's compressed RLE; None for a model without masks."""

    def polygons(self) -> tuple[Polygon, ...]:
        """Return the mask as polygons in pixels; empty without a mask."""
        if self.segmentation is None:
            return ()
        height, width = self.segmentation["size"]
        return segmentation_polygons(self.segmentation, width=width, height=height)


class Predictor:
    """A trained detector: `Predictor("runs/airport")("picture.jpg")` returns its detections.

    Attributes:
        classes: class names in the order of their ids.
        score_threshold: lowest score that is returned.
    """

    def __init__(
        self,
        source: Path | str,
        hardware: HardwareConfig | None = None,
        score_threshold: float | None = None,
    ) -> None:
        """Load a run's best checkpoint, or a checkpoint file.

        Args:
            source: run folder or checkpoint file.
            hardware: where to run; None: the GPU if there is one.
            score_threshold: lowest score to return, 0-1; None: the best one on val.

        Raises:
            CheckpointError: it cannot be read.
            ConfigError: the device is missing.
        """
        source = Path(source)
        checkpoint = source if source.is_file() else find_checkpoint(source)
        self.detector = load_detector(checkpoint, hardware or _own_hardware())
        self.classes = self.detector.classes
        known = (score_threshold, self.detector.score_threshold, FALLBACK_THRESHOLD)
        self.score_threshold = next(score for score in known if score is not None)
        self._mapper = TestMapper(*self.detector.resize_limits, self.detector.input_format)

    def __call__(self, image: NDArray[np.uint8] | Path | str) -> list[FoundObject]:
        """Return the detections in an image, highest score first.

        Args:
            image: a file, or an RGB array of uint8 with shape [H, W, 3].

        Raises:
            DataError: the file cannot be read, or the array has a wrong shape or type.
        """
        pixels = read_rgb(Path(image)) if isinstance(image, (str, Path)) else image
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise DataError(
                f"an image must be an RGB array of uint8 with shape [height, width, 3], not "
                f"{pixels.dtype} with shape {list(pixels.shape)}."
            )
        height, width = pixels.shape[:2]
        if self.detector.input_format == "BGR":
            pixels = pixels[:, :, ::-1]
        inputs = {
            "image": self._mapper.tensor(np.ascontiguousarray(pixels)),
            "height": height,
            "width": width,
        }
        with torch.no_grad():
            instances = self.detector.model([inputs])[0]["instances"].to("cpu")
        instances = instances[instances.scores >= self.score_threshold]
        found = [self._found_object(entry) for entry in instances_to_coco_json(instances, 0)]
        return sorted(found, key=lambda entry: -entry.score)

    def _found_object(self, entry: dict[str, Any]) -> FoundObject:
        left, top, width, height = entry["bbox"]
        return FoundObject(
            name=self.classes[entry["category_id"]],
            category=entry["category_id"],
            score=entry["score"],
            bbox=(left, top, width, height),
            segmentation=entry.get("segmentation"),
        )


def _own_hardware() -> HardwareConfig:
    """Return the GPU if there is one, otherwise the CPU."""
    if detect_hardware() == "gpu":
        return HardwareConfig(name="gpu", device="cuda", sparse_roi_align=False)
    return HardwareConfig(name="cpu")


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Read an image as in training: RGB [H, W, 3], rotated by its EXIF flag.

    Raises:
        DataError: the file is missing, broken or too large.
    """
    try:
        image = decode_image(path, "RGB")
    except IMAGE_ERRORS as error:
        raise DataError(f"{path}: {describe_image_error(error)}.") from error
    return image
