"""A trained detector as a function of one image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from numpy.typing import NDArray
from PIL import Image, ImageOps

from detfinetune.config.load import load_hardware
from detfinetune.config.schema import HardwareConfig
from detfinetune.data.mapper import TestMapper, decode_image
from detfinetune.errors import DataError
from detfinetune.image_files import IMAGE_ERRORS, describe_image_error
from detfinetune.models.checkpoint import FALLBACK_THRESHOLD, find_checkpoint, load_detector
from detfinetune.prediction import Prediction


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
        self.detector = load_detector(checkpoint, hardware or load_hardware())
        self.classes = self.detector.classes
        known = (score_threshold, self.detector.score_threshold, FALLBACK_THRESHOLD)
        self.score_threshold = next(score for score in known if score is not None)
        self._mapper = TestMapper(*self.detector.resize_limits, self.detector.input_format)

    def __call__(
        self, image: NDArray[np.uint8] | Image.Image | Path | str, threshold: float | None = None
    ) -> Prediction:
        """Return the detections in an image, highest score first.

        Args:
            image: a file, a PIL image, or an RGB array of uint8 with shape [H, W, 3].
            threshold: lowest score to return; None: `score_threshold`.

        Raises:
            DataError: the file cannot be read, or the array has a wrong shape or type.
        """
        pixels = _pixels(image)
        height, width = pixels.shape[:2]
        turned = pixels[:, :, ::-1] if self.detector.input_format == "BGR" else pixels
        inputs = {
            "image": self._mapper.tensor(np.ascontiguousarray(turned)),
            "height": height,
            "width": width,
        }
        with torch.no_grad():
            instances = self.detector.model([inputs])[0]["instances"].to("cpu")
        lowest = self.score_threshold if threshold is None else threshold
        instances = instances[instances.scores >= lowest]
        instances = instances[torch.argsort(instances.scores, descending=True, stable=True)]
        masks = None
        if instances.has("pred_masks"):
            masks = tuple(e["segmentation"] for e in instances_to_coco_json(instances, 0))
        return Prediction(
            boxes=instances.pred_boxes.tensor.numpy(),
            scores=instances.scores.numpy(),
            class_ids=instances.pred_classes.numpy(),
            classes=self.classes,
            width=width,
            height=height,
            rle_masks=masks,
            image=pixels,
        )


def _pixels(image: NDArray[np.uint8] | Image.Image | Path | str) -> NDArray[np.uint8]:
    if isinstance(image, (str, Path)):
        return read_rgb(Path(image))
    if isinstance(image, Image.Image):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(
            f"an image must be an RGB array of uint8 with shape [height, width, 3], not "
            f"{image.dtype} with shape {list(image.shape)}."
        )
    return image


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
