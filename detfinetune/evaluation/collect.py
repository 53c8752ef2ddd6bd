"""Detectron2's COCOEvaluator as the collector of every process's detections."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog
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
        """Collect for a split that `data.register` registered.

        Raises:
            CheckpointError: the split's classes are not the model's `classes`, by name.
        """
        super().__init__(dataset_name, tasks=tasks, use_fast_impl=False)
        names = list(self._metadata.thing_classes)
        check_classes(classes, names, dataset_name)
        ids = {
            names[at]: id_ for id_, at in self._metadata.thing_dataset_id_to_contiguous_id.items()
        }
        self._category_ids = [int(ids[name]) for name in classes]
        self.truth = split_truth(dataset_name)

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


def split_truth(dataset_name: str) -> dict[str, Any]:
    """Return a registered split's COCO JSON, with every class of the data among its categories.

    A split's own JSON need not list the classes that none of its images show.
    """
    entry = MetadataCatalog.get(dataset_name)
    ids = {at: id_ for id_, at in entry.thing_dataset_id_to_contiguous_id.items()}
    categories = [{"id": ids[at], "name": name} for at, name in enumerate(entry.thing_classes)]
    return {**read_ground_truth(Path(entry.json_file)), "categories": categories}


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
