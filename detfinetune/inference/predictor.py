"""A trained detector as a function of one image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from detfinetune.config.load import load_hardware
from detfinetune.config.schema import HardwareConfig
from detfinetune.data.load import decode_image
from detfinetune.data.pipeline import build_test_pipeline
from detfinetune.data.sample import Sample
from detfinetune.data.window import Window, apply_window
from detfinetune.errors import DataError
from detfinetune.image_files import IMAGE_ERRORS, describe_image_error, is_deep_grey
from detfinetune.models.checkpoint import FALLBACK_THRESHOLD, find_checkpoint, load_detector
from detfinetune.models.detection_model import PredictOptions
from detfinetune.prediction import Prediction


class Predictor:
    """A trained detector: `Predictor("runs/airport")("picture.jpg")` returns its detections.

    Attributes:
        classes: class names in the order of their ids.
        score_threshold: lowest score that is returned.
        window: for grey levels of more than 8 bits; None if there were none in training.
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
        config = self.detector.config
        self._spec = self.detector.family.input_spec(config)
        self.window = config.augment.window
        self._pipeline = build_test_pipeline(config, self.classes)
        self._options = PredictOptions(config.evaluation.detections_per_image)

    def __call__(
        self, image: NDArray[Any] | Image.Image | Path | str, threshold: float | None = None
    ) -> Prediction:
        """Return the detections in an image, highest score first.

        Args:
            image: a file, a PIL image, an RGB array of uint8 with shape [H, W, 3], or grey levels
                of any type with shape [H, W].
            threshold: lowest score to return; None: `score_threshold`.

        Raises:
            DataError: the file cannot be read, or the array has a wrong shape or type.
        """
        pixels = _pixels(image, self.window)
        turned = pixels[:, :, ::-1] if self._spec.color == "BGR" else pixels
        sample = self._pipeline.augment(Sample.unlabelled(np.ascontiguousarray(turned)))
        with torch.no_grad():
            found = self.detector.model.predict(self._pipeline.pack([sample]), self._options)[0]
        scores = self.detector.calibration(found.scores)
        lowest = self.score_threshold if threshold is None else threshold
        return replace(found, scores=scores, image=pixels)[scores >= lowest]


def _pixels(
    image: NDArray[Any] | Image.Image | Path | str, window: Window | None
) -> NDArray[np.uint8]:
    if isinstance(image, (str, Path)):
        return read_rgb(Path(image), window)
    if isinstance(image, Image.Image):
        turned = ImageOps.exif_transpose(image)
        image = np.asarray(turned if is_deep_grey(turned) else turned.convert("RGB"))
    if image.ndim == 2 and image.dtype == np.uint8:
        return np.repeat(image[:, :, None], 3, axis=2)
    if image.ndim == 2:
        return apply_window(image, window, "the array")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(
            "an image must be an RGB array of uint8 with shape [height, width, 3], or grey levels "
            f"with shape [height, width], not {image.dtype} with shape {list(image.shape)}."
        )
    return image


def read_rgb(path: Path, window: Window | None = None) -> NDArray[np.uint8]:
    """Read an image as in training: RGB [H, W, 3], rotated by its EXIF flag.

    Raises:
        DataError: the file is missing, broken or too large, or has more than 8 bits without a
            window.
    """
    try:
        image = decode_image(path, "RGB", window)
    except IMAGE_ERRORS as error:
        raise DataError(f"{path}: {describe_image_error(error)}.") from error
    return image
