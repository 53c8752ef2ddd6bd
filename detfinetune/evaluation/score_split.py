"""Run a model over a dataset split and score it: what training and evaluation share."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from detectron2.utils import comm
from torch import nn

from detfinetune import console
from detfinetune.config.schema import Task
from detfinetune.evaluation.collect import DetectionCollector
from detfinetune.evaluation.diagnose import diagnose, empty_buckets
from detfinetune.evaluation.ground_truth import GroundTruth
from detfinetune.evaluation.metrics import DEFAULT_DETECTIONS_PER_IMAGE, score_detections
from detfinetune.evaluation.result import EvaluationResult, write_result
from detfinetune.evaluation.self_check import check_ground_truth
from detfinetune.evaluation.threshold import best_threshold

Loader = Iterable[list[dict[str, Any]]]


def evaluate_split(
    model: nn.Module,
    truth: GroundTruth,
    loader: Loader,
    *,
    task: Task,
    classes: Sequence[str],
    detections_per_image: int = DEFAULT_DETECTIONS_PER_IMAGE,
    output_dir: Path | None = None,
    provenance: Mapping[str, Any] | None = None,
    self_check: bool = True,
    progress_description: str = "evaluate",
) -> EvaluationResult:
    """Run `model` over `loader` and score what it finds. All processes must call it.

    Args:
        model: a Detectron2 detector; left in the mode (training or not) it was in.
        truth: the split's ground truth.
        loader: test loader of that split, sharded over the processes.
        task: `bbox` scores boxes, `segm` boxes and masks.
        classes: the model's class names, in the order of its class ids.
        detections_per_image: highest-scored detections that count in an image, for each class.
        output_dir: folder that receives `metrics.json` and `detections.json`; None writes none.
        provenance: what `metrics.json` is to say of where the figures come from.
        self_check: score the ground truth against itself first and demand AP 100.
        progress_description: text before the progress bar.

    Returns:
        The result on the main process, an empty one elsewhere.

    Raises:
        DataError: the ground truth cannot be scored, or does not score AP 100 against itself.
        CheckpointError: the split has other classes than the model.
    """
    start = time.monotonic()
    tasks: tuple[Task, ...] = ("bbox", "segm") if task == "segm" else ("bbox",)
    collector = DetectionCollector(truth, classes)
    notes = _self_check(truth, tasks) if self_check else []
    _collect(model, loader, collector, progress_description)
    detections = collector.evaluate()
    if detections is None:
        return EvaluationResult(truth.name)
    content = truth.content
    metrics = {
        each: score_detections(content, detections, each, detections_per_image) for each in tasks
    }
    main = metrics[task]
    threshold = best_threshold(main)
    result = EvaluationResult(
        dataset_name=truth.name,
        metrics=metrics,
        detections=detections,
        threshold=threshold,
        diagnosis=tuple(diagnose(content, detections, main)),
        notes=(*notes, *empty_buckets(main)),
        num_images=len(content["images"]),
        seconds=time.monotonic() - start,
    )
    if output_dir is not None:
        write_result(result, output_dir, provenance)
    return result


def _self_check(truth: GroundTruth, tasks: tuple[Task, ...]) -> list[str]:
    """Check the split's ground truth on every process alike, so that all stop when one does."""
    warnings = (check_ground_truth(truth.content, task).warning() for task in tasks)
    return [warning for warning in dict.fromkeys(warnings) if warning]


def _collect(
    model: nn.Module, loader: Loader, collector: DetectionCollector, description: str
) -> None:
    """Feed every batch through `model` into `collector`."""
    collector.reset()
    batches: Iterable[list[dict[str, Any]]] = loader
    if comm.is_main_process():
        total = len(cast(Any, loader)) if hasattr(loader, "__len__") else None
        batches = console.progress(loader, description=description, total=total, unit="batch")
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for inputs in batches:
                collector.process(inputs, model(inputs))
    finally:
        model.train(was_training)
