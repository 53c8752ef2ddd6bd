"""Collect the detections of all processes with Detectron2's COCOEvaluator."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.evaluation import COCOEvaluator
from detectron2.utils import comm

from detfinetune.console import name_list
from detfinetune.errors import CheckpointError
from detfinetune.evaluation.ground_truth import GroundTruth
from detfinetune.evaluation.metrics import Detection


class DetectionCollector(COCOEvaluator):  # type: ignore[misc]
    """Detectron2's evaluator, except that `evaluate` returns detections instead of metrics.

    `score_detections` computes the same metrics (a test compares them), and also recall, matches
    and an AP of 0 when there are no detections.
    """

    def __init__(self, truth: GroundTruth, classes: Sequence[str]) -> None:
        """Prepare for a split.

        Raises:
            CheckpointError: the split's class names differ from the model's `classes`.
        """
        # super().__init__ would read from a JSON file what is already in memory.
        self._cpu_device = torch.device("cpu")
        self._predictions: list[dict[str, Any]] = []
        check_classes(classes, truth.classes, truth.name)
        ids = {category["name"]: category["id"] for category in truth.content["categories"]}
        self._category_ids = [ids[name] for name in classes]

    def evaluate(self, img_ids: Any = None) -> list[Detection] | None:
        """Return all detections with COCO category ids on the main process, None on the others."""
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
