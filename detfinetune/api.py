"""The Python interface: the commands as functions, and a trained detector as an object.

    from detfinetune import Detector, train

    run = train("DIR", solver={"max_iter": 300})
    detector = Detector.load(run.path)
    detector.predict("photo.jpg").plot().save("found.jpg")

The functions take the keys of the command line, sections as dicts. Mistakes in keys and values are
`ConfigError`s that list all of them. torch is imported when a function first needs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detfinetune.config.load import build_config, load_hardware
from detfinetune.config.schema import (
    AskConfig,
    CheckConfig,
    ConvertConfig,
    EvaluateConfig,
    MergeConfig,
    PredictConfig,
    Section,
    TrainConfig,
)
from detfinetune.console import prepare_process
from detfinetune.labels.convert import ConversionResult
from detfinetune.labels.export import ExportResult, convert_labels

if TYPE_CHECKING:
    from detfinetune.check_dataset import CheckReport
    from detfinetune.engine.train import TrainResult
    from detfinetune.evaluation.result import EvaluationResult
    from detfinetune.inference.ask import AskResult
    from detfinetune.inference.predict import PredictionResult
    from detfinetune.inference.predictor import Predictor
    from detfinetune.prediction import Prediction

# Importing this module says that somebody will train or predict in this process.
prepare_process()

C = TypeVar("C", bound=Section)
AnyPath = str | PathLike[str]
AnyImage = AnyPath | NDArray[np.uint8] | Image.Image


def train(root: AnyPath | TrainConfig | None = None, /, **settings: Any) -> TrainResult:
    """Fine-tune a detector; as `detfinetune train`.

    Args:
        root: folder of the data set, or a whole configuration.
        settings: such as `task="segm"`, `solver={"max_iter": 300}`, `resume="runs/custom"`.

    Returns:
        The result; with `seeds=3` a `SeedsResult`, which is that of the best run on val and has
        those of all `runs` and their `spread`.

    Raises:
        DetFinetuneError: a problem the user can fix; files already written are kept.
    """
    from detfinetune.engine.seeds import train_config

    return train_config(_config("train", TrainConfig, root, settings))


def check(root: AnyPath | CheckConfig | None = None, /, **settings: Any) -> CheckReport:
    """Check a data set and write the page with the findings; as `detfinetune check`.

    Args:
        root: folder of the data set, or a whole configuration.
        settings: such as `quick=True`, `output="checks/mine"`.

    Raises:
        DetFinetuneError: the data or the configuration cannot be used.
    """
    from detfinetune.check_dataset import check_dataset

    return check_dataset(_config("check", CheckConfig, root, settings))


def convert(
    root: AnyPath | ConvertConfig | None = None, /, **settings: Any
) -> ConversionResult | ExportResult:
    """Convert labels to COCO JSON, YOLO, VOC, txt or Florence-2's JSONL; as `detfinetune convert`.

    Args:
        root: folder of the data set, or a whole configuration.
        settings: such as `output="OUT"`, `output_format="yolo"`.

    Raises:
        DetFinetuneError: the labels or the configuration cannot be used.
    """
    return convert_labels(_config("convert", ConvertConfig, root, settings))


def evaluate(run: AnyPath | EvaluateConfig, **settings: Any) -> EvaluationResult:
    """Evaluate a run's best checkpoint; as `detfinetune evaluate`.

    Args:
        run: folder of a run, a checkpoint file, or a whole configuration.
        settings: such as `split="test"`, `data={"root": "DIR"}`.

    Raises:
        DetFinetuneError: the run, the data or the configuration cannot be used.
    """
    from detfinetune.evaluation.evaluate import evaluate as evaluate_config

    if isinstance(run, EvaluateConfig):
        return evaluate_config(run)
    return evaluate_config(build_config("evaluate", EvaluateConfig, _source(run) | settings))


def predict(
    run: AnyPath | PredictConfig, input: AnyPath | None = None, **settings: Any
) -> PredictionResult:
    """Write pictures and COCO results of images or a video; as `detfinetune predict`.

    Args:
        run: folder of a run, a checkpoint file, or a whole configuration.
        input: image, folder or video.
        settings: such as `output="found"`, `score_threshold=0.3`.

    Raises:
        DetFinetuneError: the run, the input or the configuration cannot be used.
    """
    from detfinetune.inference.predict import predict as predict_config

    if isinstance(run, PredictConfig):
        return predict_config(run)
    values = _source(run) | {"input": None if input is None else str(input)} | settings
    return predict_config(build_config("predict", PredictConfig, values))


def ask(
    input: AnyPath | AskConfig,
    prompt_task: str | None = None,
    text: str | None = None,
    **settings: Any,
) -> AskResult:
    """Ask a model about an image or a folder of images; as `detfinetune ask`.

    Args:
        input: image or folder, or a whole configuration.
        prompt_task: such as `caption` or `referring_segmentation`.
        text: words to look for, if the task needs them.
        settings: the model, as in `run="runs/custom"` or `model="florence2"`, and `output="DIR"`.

    Raises:
        DetFinetuneError: the input, the model or the configuration cannot be used.
    """
    from detfinetune.inference.ask import ask as ask_config

    if isinstance(input, AskConfig):
        return ask_config(input)
    values = {"input": str(input), "prompt_task": prompt_task, "text": text} | settings
    return ask_config(build_config("ask", AskConfig, values))


def merge(run: AnyPath | MergeConfig, output: AnyPath | None = None, **settings: Any) -> None:
    """Write a fine-tuned Florence-2 as a plain model; as `detfinetune merge`.

    Args:
        run: folder of a run, a checkpoint file, or a whole configuration.
        output: folder for the model.
        settings: such as `overwrite=True`.

    Raises:
        DetFinetuneError: the run cannot be merged, or the output exists.
    """
    from detfinetune.models.merge import merge as merge_config

    if not isinstance(run, MergeConfig):
        values = _source(run) | {"output": None if output is None else str(output)} | settings
        run = build_config("merge", MergeConfig, values)
    merge_config(run)


class Detector:
    """A trained detector.

    Attributes:
        classes: class names by class id.
        score_threshold: lowest score of what `predict` returns unless it is told otherwise.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.classes = predictor.classes
        self.score_threshold = predictor.score_threshold

    @classmethod
    def load(cls, source: AnyPath, device: str | None = None) -> Detector:
        """Load a run's best checkpoint, or a checkpoint file.

        Args:
            source: folder of a run, or a checkpoint.
            device: torch device; None: the GPU if there is one.

        Raises:
            CheckpointError: it cannot be read.
            ConfigError: there is no such device.
        """
        from detfinetune.inference.predictor import Predictor

        return cls(Predictor(Path(source), load_hardware(device)))

    @overload
    def predict(self, image: AnyImage, score_threshold: float | None = None) -> Prediction: ...
    @overload
    def predict(
        self, image: list[AnyImage], score_threshold: float | None = None
    ) -> list[Prediction]: ...
    def predict(
        self, image: AnyImage | list[AnyImage], score_threshold: float | None = None
    ) -> Prediction | list[Prediction]:
        """Return the detections in an image, or in each of a list of images.

        Args:
            image: a path, a PIL image, or an RGB array of uint8, (height, width, 3); or a list.
            score_threshold: lowest score to return, 0-1; None: `score_threshold`, the one with the
                best F1 on val.

        Raises:
            DataError: an image cannot be read.
        """
        if isinstance(image, list):
            return list(self._predict(image, score_threshold))
        return next(iter(self._predict([image], score_threshold)))

    def _predict(
        self, images: Iterable[AnyImage], score_threshold: float | None
    ) -> Iterable[Prediction]:
        for image in images:
            plain = Path(image) if isinstance(image, (str, PathLike)) else image
            yield self._predictor(plain, score_threshold)

    def evaluate(self, root: AnyPath | None = None, /, **settings: Any) -> EvaluationResult:
        """Return the AP on the data set in `root`, or on the data of its run; as `evaluate`.

        Raises:
            DetFinetuneError: the data cannot be scored.
        """
        from detfinetune.evaluation.evaluate import evaluate as evaluate_config

        own = {"checkpoint": str(self._predictor.detector.checkpoint)}
        return evaluate_config(_config("evaluate", EvaluateConfig, root, own | settings))


def _config(name: str, schema: type[C], root: AnyPath | C | None, settings: dict[str, Any]) -> C:
    if isinstance(root, schema):
        return root
    if root is not None:
        settings = {**settings, "data.root": str(root)}
    return build_config(name, schema, settings)


def _source(run: AnyPath) -> dict[str, str]:
    return {"checkpoint" if Path(run).is_file() else "run": str(run)}
