"""Whether the ground truth, given as predictions, scores AP 100, as it must.

When it does not, no model's figures on it can be trusted, so this is checked before any model is
scored: it finds boxes that are not numbers, objects on images or in classes that the JSON does not
list, and mistakes in the scoring itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as mask_api

from detfinetune.config.schema import Task
from detfinetune.errors import DataError
from detfinetune.evaluation.metrics import (
    DEFAULT_DETECTIONS_PER_IMAGE,
    Detection,
    Metrics,
    read_ground_truth,
    score_detections,
)

_PERFECT = 100.0
_TOLERANCE = 1e-6
_LISTED = 5


@dataclass(frozen=True)
class SelfCheck:
    """What came out of scoring the ground truth against itself."""

    ap: float | None
    """AP of the ground truth as predictions, on 0-100; None when there was nothing to score."""

    num_checked: int
    """Objects that were scored."""

    left_out: tuple[str, ...]
    """Annotations that cannot match themselves, each as `annotation ID (FILE): reason`."""

    def warning(self) -> str | None:
        """Return one line that names what was left out, or None."""
        if not self.left_out:
            return None
        named = "; ".join(self.left_out[:_LISTED])
        more = f"; and {len(self.left_out) - _LISTED} more" if len(self.left_out) > _LISTED else ""
        return (
            f"{len(self.left_out)} annotations cannot be found by any prediction, and count as "
            f"missed in every figure: {named}{more}"
        )


def check_ground_truth(
    ground_truth: Path | Mapping[str, Any],
    task: Task = "bbox",
) -> SelfCheck:
    """Score COCO JSON against itself and demand AP 100.

    The limit of detections an image is raised to the fullest image. Crowd regions are not
    predicted. Annotations that cannot match themselves (no area, not a number, a mask without a
    pixel) are named and left out.

    Raises:
        DataError: AP is not 100 or an object was not found; the text says which, or why.
    """
    truth = read_ground_truth(ground_truth)
    where = str(ground_truth) if isinstance(ground_truth, Path) else "the ground truth"
    images = {image["id"]: image for image in truth["images"]}
    problems = _dangling(truth, set(images))
    if problems:
        raise DataError(f"{where}: the labels do not hold together: {'; '.join(problems)}.")
    kept, detections, left_out = [], [], []
    for annotation in truth["annotations"]:
        image = images[annotation["image_id"]]
        reason = _unmatchable(annotation, image, task)
        if reason:
            name = image.get("file_name", image["id"])
            left_out.append(f"annotation {annotation.get('id')} ({name}): {reason}")
            continue
        kept.append(annotation)
        if not annotation.get("iscrowd", 0):
            detections.append(_as_detection(annotation, image, task))
    fullest = max(Counter(entry["image_id"] for entry in kept).values(), default=0)
    metrics = score_detections(
        {**truth, "annotations": kept},
        detections,
        task,
        max(fullest, DEFAULT_DETECTIONS_PER_IMAGE),
    )
    missed = _missed(metrics, kept)
    if missed or (metrics.ap is not None and abs(metrics.ap - _PERFECT) > _TOLERANCE):
        raise DataError(
            f"{where}: given as predictions, the ground truth itself finds "
            f"{len(detections) - len(missed)} of {len(detections)} objects and scores {task} AP "
            f"{metrics.ap or 0.0:.3f}. It must find all and score 100; until then no model's "
            f"figures on it can be trusted. Not found: annotation ids {missed[:_LISTED]}; check "
            "their area, box and outline."
        )
    return SelfCheck(metrics.ap, len(detections), tuple(left_out))


def _dangling(truth: dict[str, Any], image_ids: set[Any]) -> list[str]:
    """Return what is wrong with the ids that tie images, annotations and categories together."""
    problems = []
    for key in ("images", "categories"):
        counts = Counter(entry["id"] for entry in truth[key])
        if twice := [number for number, count in counts.items() if count > 1]:
            problems.append(f"{key} share the ids {twice[:_LISTED]}")
    category_ids = {category["id"] for category in truth["categories"]}
    for key, known in (("image_id", image_ids), ("category_id", category_ids)):
        lost = [
            annotation.get("id")
            for annotation in truth["annotations"]
            if annotation.get(key) not in known
        ]
        if lost:
            problems.append(
                f"{len(lost)} annotations have no listed {key} (annotation ids {lost[:_LISTED]})"
            )
    return problems


def _unmatchable(annotation: dict[str, Any], image: dict[str, Any], task: Task) -> str | None:
    """Return why an annotation cannot overlap itself, or None when it can."""
    box = annotation["bbox"]
    if not all(math.isfinite(value) for value in box):
        return f"its box {box} is not made of numbers"
    if task == "bbox":
        return None if box[2] > 0 and box[3] > 0 else f"its box {box} has no area"
    if not annotation.get("segmentation"):
        return "it has no outline"
    if mask_api.area(_rasterize(annotation, image)) == 0:
        return "its outline covers no pixel"
    return None


def _rasterize(annotation: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """Return an annotation's mask as compressed RLE, as COCO's API does it."""
    outline = annotation["segmentation"]
    height, width = image["height"], image["width"]
    if isinstance(outline, list):
        return dict(mask_api.merge(mask_api.frPyObjects(outline, height, width)))
    if isinstance(outline["counts"], list):
        return dict(mask_api.frPyObjects(outline, height, width))
    return dict(outline)


def _as_detection(annotation: dict[str, Any], image: dict[str, Any], task: Task) -> Detection:
    detection = {
        "image_id": annotation["image_id"],
        "category_id": annotation["category_id"],
        "bbox": annotation["bbox"],
        "score": 1.0,
    }
    if task == "segm":
        detection["segmentation"] = _rasterize(annotation, image)
    return detection


def _missed(metrics: Metrics, kept: list[dict[str, Any]]) -> list[Any]:
    """Return the ids of the objects among `kept` that were not found."""
    found = set(metrics.matches.annotation[metrics.matches.hit].tolist())
    return [
        annotation.get("id")
        for position, annotation in enumerate(kept)
        if position not in found and not annotation.get("iscrowd", 0)
    ]
