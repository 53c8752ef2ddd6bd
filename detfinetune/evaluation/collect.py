"""Detectron2's COCOEvaluator as the collector of every process's detections."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.evaluation import COCOEvaluator
from detectron2.utils import comm

from detfinetune.errors import CheckpointError
from detfinetune.evaluation.ground_truth import GroundTruth
from detfinetune.evaluation.metrics import Detection


class DetectionCollector(COCOEvaluator):  # type: ignore[misc]
    """Detectron2's evaluator up to the point where it has every process's COCO results.

    `evaluate` returns the detections instead of figures: those of `score_detections` are the
    same (a test compares them), and come with recall, matches and an AP where nothing was found.
    """

    def __init__(self, truth: GroundTruth, classes: Sequence[str]) -> None:
        """Collect for a split.

        Raises:
            CheckpointError: the split's classes are not the model's `classes`, by name.
        """
        # Not super().__init__, which would read a JSON file for what is in memory already.
        self._cpu_device = torch.device("cpu")
        self._predictions: list[dict[str, Any]] = []
        check_classes(classes, truth.classes, truth.name)
        ids = {category["name"]: category["id"] for category in truth.content["categories"]}
        self._category_ids = [ids[name] for name in classes]

    def evaluate(self, img_ids: Any = None) -> list[Detection] | None:
        """Return all processes' detections with COCO category ids; None elsewhere."""
        comm.synchronize()
        gathered = comm.gather(self._predictions, dst=0)
        if not comm.is_main_process():
            return None
        by_image = itertools.chain.from_iterable(gathered)
        return [
            {**detection, "category_id": self._category_ids[detection["category_id"]]}
            for image in sorted(by_image, key=lambda image: image["image_id"])
            for detection in image["instances"]
        ]


def check_classes(model: Sequence[str], data: Sequence[str], where: str) -> None:
    """Demand that a model and data have the same class names; their order may differ.

    Raises:
        CheckpointError: they differ; the text shows both lists.
    """
    if sorted(model) == sorted(data):
        return
    raise CheckpointError(
        f"the model and {where} have different classes, so its predictions cannot be scored.\n"
        f"  model: {', '.join(model)}\n"
        f"  data:  {', '.join(data)}\n"
        f"  only in the model: {', '.join(name for name in model if name not in data) or 'none'}\n"
        f"  only in the data: {', '.join(name for name in data if name not in model) or 'none'}\n"
        "Evaluate on data with the same class names, or rename its classes (data.classes)."
    )
