"""Detectron2's COCOEvaluator as the collector of every process's detections."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.evaluation import COCOEvaluator
from detectron2.utils import comm

from detfinetune.config.schema import Task
from detfinetune.errors import CheckpointError
from detfinetune.evaluation.metrics import Detection, read_ground_truth


class DetectionCollector(COCOEvaluator):  # type: ignore[misc]
    """Detectron2's evaluator up to the point where it has every process's COCO results.

    `evaluate` returns the detections instead of figures: those of `score_detections` are the
    same (a test compares them), and come with recall, matches and an AP where nothing was found.
    """

    def __init__(self, dataset_name: str, tasks: tuple[Task, ...], classes: Sequence[str]) -> None:
        """Collect for a registered split whose JSON holds the model's `classes`, by name.

        Raises:
            CheckpointError: the JSON's categories are not the model's classes.
        """
        super().__init__(dataset_name, tasks=tasks, use_fast_impl=False)
        self.truth: dict[str, Any] = read_ground_truth(self._coco_api.dataset)
        self._category_ids = category_ids(self.truth, classes, dataset_name)

    def evaluate(self, img_ids: Any = None) -> list[Detection] | None:
        """Return all processes' detections with the JSON's category ids; None elsewhere."""
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


def category_ids(truth: Mapping[str, Any], classes: Sequence[str], where: str) -> list[int]:
    """Return the JSON's category id of each of the model's classes, matched by name.

    Raises:
        CheckpointError: the two lists do not hold the same names; the text shows both.
    """
    by_name = {category["name"]: int(category["id"]) for category in truth["categories"]}
    if set(by_name) != set(classes):
        missing = [name for name in classes if name not in by_name]
        unknown = [name for name in by_name if name not in classes]
        raise CheckpointError(
            f"the model and {where} have different classes, so its predictions cannot be scored.\n"
            f"  model: {', '.join(classes)}\n"
            f"  data:  {', '.join(by_name)}\n"
            f"  only in the model: {', '.join(missing) or 'none'}\n"
            f"  only in the data: {', '.join(unknown) or 'none'}\n"
            "Evaluate on data with the same class names, or rename its classes (data.classes)."
        )
    return [by_name[name] for name in classes]
