"""Run a detector on a split and collect its predictions, and its losses, from all processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from detectron2.utils import comm

from detfinetune import console
from detfinetune.console import name_list
from detfinetune.errors import CheckpointError
from detfinetune.evaluation.ground_truth import GroundTruth
from detfinetune.evaluation.metrics import Detection
from detfinetune.models.detection_model import DetectionModel, PredictOptions
from detfinetune.models.family import Batch
from detfinetune.prediction import Prediction

Loader = Iterable[tuple[list[int], Batch]]
"""Image ids of the ground truth, and the batch of these images."""


@dataclass
class Collected:
    """What a detector made of a split."""

    predictions: dict[int, Prediction] = field(default_factory=dict)
    """By image id."""

    losses: dict[str, float] = field(default_factory=dict)
    """Means over the images; empty unless asked for."""


def collect(
    model: DetectionModel,
    loader: Loader,
    options: PredictOptions,
    *,
    losses: bool = False,
    description: str = "evaluate",
) -> Collected | None:
    """Run `model` on every batch; return what all processes collected, None except on the main one.

    The mode of the model, training or evaluation, is restored.

    Args:
        model: a detector.
        loader: test loader of a split, divided among the processes.
        options: how to predict.
        losses: also compute the losses; the batches must have labels.
        description: text before the progress bar.
    """
    found = Collected()
    sums: dict[str, float] = {}
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for image_ids, batch in _with_progress(loader, description):
                predictions = model.predict(batch, options)
                found.predictions.update(zip(image_ids, predictions, strict=True))
                for name, loss in model(batch).items() if losses else ():
                    sums[name] = sums.get(name, 0.0) + float(loss) * len(image_ids)
    finally:
        model.train(was_training)
    comm.synchronize()
    gathered = comm.gather((found.predictions, sums), dst=0)
    if not comm.is_main_process():
        return None
    merged = {id_: one for predictions, _ in gathered for id_, one in predictions.items()}
    count = max(len(merged), 1)
    return Collected(
        {image_id: merged[image_id] for image_id in sorted(merged)},
        {name: sum(part.get(name, 0.0) for _, part in gathered) / count for name in sums},
    )


def _with_progress(loader: Loader, description: str) -> Loader:
    if not comm.is_main_process():
        return loader
    sized: Any = loader
    total = len(sized) if hasattr(loader, "__len__") else None
    return console.progress(loader, description=description, total=total, unit="batch")


def coco_results(
    predictions: dict[int, Prediction], truth: GroundTruth, classes: Sequence[str]
) -> list[Detection]:
    """Return predictions by image id as COCO results in the ids of the ground truth."""
    ids = {category["name"]: category["id"] for category in truth.content["categories"]}
    category_ids = [ids[name] for name in classes]
    return [
        result
        for image_id, prediction in predictions.items()
        for result in prediction.to_coco(image_id, category_ids)
    ]


def check_classes(model: Sequence[str], data: Sequence[str], where: str) -> None:
    """Check that a model and a dataset have the same class names, in any order.

    Raises:
        CheckpointError: they differ.
    """
    if sorted(model) == sorted(data):
        return
    missing = [name for name in model if name not in data]
    unknown = [name for name in data if name not in model]
    raise CheckpointError(
        f"the classes of the model and of {where} differ, so predictions cannot be scored.\n"
        f"  model: {name_list(model)}\n"
        f"  data:  {name_list(data)}\n"
        f"  only in the model: {name_list(missing) or 'none'}\n"
        f"  only in the data: {name_list(unknown) or 'none'}\n"
        "Evaluate on data with the same class names. If it only lacks some of the model's classes, "
        "and its labels name their classes (COCO, VOC, ...), name all with data.classes=[...]. "
        "If its labels number them (YOLO, txt), data.classes gives these numbers other names."
    )
