"""Run a model on a dataset split and score it, for training and evaluation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detfinetune.config.schema import Task
from detfinetune.console import busy
from detfinetune.evaluation.collect import Loader, check_classes, coco_results, collect
from detfinetune.evaluation.diagnose import diagnose, empty_size_ranges
from detfinetune.evaluation.ground_truth import GroundTruth
from detfinetune.evaluation.metrics import DEFAULT_DETECTIONS_PER_IMAGE, score_detections
from detfinetune.evaluation.result import EvaluationResult, write_result
from detfinetune.evaluation.self_check import check_ground_truth
from detfinetune.evaluation.threshold import best_threshold, figures_at
from detfinetune.models.calibration import UNCALIBRATED, Calibration
from detfinetune.models.detection_model import DetectionModel, PredictOptions


def evaluate_split(
    model: DetectionModel,
    truth: GroundTruth,
    loader: Loader,
    *,
    task: Task,
    classes: Sequence[str],
    detections_per_image: int = DEFAULT_DETECTIONS_PER_IMAGE,
    score_threshold: float | None = None,
    calibration: Calibration = UNCALIBRATED,
    output_dir: Path | None = None,
    provenance: Mapping[str, Any] | None = None,
    self_check: bool = True,
    losses: bool = False,
    progress_description: str = "evaluate",
) -> EvaluationResult:
    """Run `model` on `loader` and score its detections. All processes must call this.

    Args:
        model: a detector; its training or evaluation mode is restored.
        truth: the split's ground truth.
        loader: test loader of that split, divided among the processes.
        task: `bbox` scores boxes, `segm` boxes and masks.
        classes: the model's class names, in the order of its class ids.
        detections_per_image: number of top-scoring detections to keep per image.
        score_threshold: the best one of val, at which precision and recall are reported; None
            reports them at the best one of this split.
        calibration: of the model's scores, fitted on val; `score_threshold` is one of calibrated
            scores.
        output_dir: folder for `metrics.json` and `detections.json`; None writes no files.
        provenance: origin of the metrics, written to `metrics.json`.
        self_check: check first that the ground truth scores AP 100 against itself.
        losses: also compute the losses; the batches must have labels.
        progress_description: text before the progress bar.

    Returns:
        The result on the main process, an empty one on the others.

    Raises:
        DataError: the ground truth cannot be scored, or does not score AP 100 against itself.
        CheckpointError: the classes of split and model differ.
    """
    start = time.monotonic()
    tasks: tuple[Task, ...] = ("bbox", "segm") if task == "segm" else ("bbox",)
    check_classes(classes, truth.classes, truth.name)
    notes = _self_check(truth, tasks) if self_check else []
    found = collect(
        model,
        loader,
        PredictOptions(detections_per_image),
        losses=losses,
        description=progress_description,
    )
    if found is None:
        return EvaluationResult(truth.name)
    content = truth.content
    with busy("scoring the detections"):
        detections = coco_results(found.predictions, truth, classes)
        metrics = {
            each: score_detections(content, detections, each, detections_per_image)
            for each in tasks
        }
    main = metrics[task]
    result = EvaluationResult(
        dataset_name=truth.name,
        metrics=metrics,
        detections=detections,
        threshold=best_threshold(main),
        diagnosis=tuple(diagnose(content, detections, main)),
        notes=(*notes, *empty_size_ranges(main)),
        losses=found.losses,
        num_images=len(content["images"]),
        seconds=time.monotonic() - start,
    ).calibrated(calibration)
    if score_threshold is not None:
        result = replace(result, threshold=figures_at(result.metrics[task], score_threshold))
    if output_dir is not None:
        write_result(result, output_dir, provenance)
    return result


def _self_check(truth: GroundTruth, tasks: tuple[Task, ...]) -> list[str]:
    """Check the ground truth on every process, so that all stop at an error."""
    with busy("checking that the ground truth scores AP 100 against itself"):
        warnings = [check_ground_truth(truth.content, task).warning() for task in tasks]
    return [warning for warning in dict.fromkeys(warnings) if warning]
