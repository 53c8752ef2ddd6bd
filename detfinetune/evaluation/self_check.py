"""Check that the ground truth, used as predictions, scores AP 100.

If it does not, metrics on it cannot be trusted, so this runs before a model is scored. It finds
boxes with non-finite coordinates, objects with an unknown image or class id, and scoring bugs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pycocotools import mask as mask_api

from detfinetune.config.schema import Task
from detfinetune.errors import DataError
from detfinetune.evaluation.metrics import (
    DEFAULT_DETECTIONS_PER_IMAGE,
    Detection,
    Metrics,
    score_detections,
)

_PERFECT = 100.0
_TOLERANCE = 1e-6
_MAX_LISTED = 5


@dataclass(frozen=True)
class SelfCheck:
    """The result of scoring the ground truth against itself."""

    ap: float | None
    """AP of the ground truth as predictions, on 0-100; None without objects."""

    num_checked: int
    """Number of objects scored."""

    unmatchable: tuple[str, ...]
    """Annotations that cannot match themselves, as `annotation ID (FILE): reason`."""

    def warning(self) -> str | None:
        """Return a line that lists the unmatchable annotations, or None."""
        if not self.unmatchable:
            return None
        named = "; ".join(self.unmatchable[:_MAX_LISTED])
        count = len(self.unmatchable)
        more = f"; and {count - _MAX_LISTED} more" if count > _MAX_LISTED else ""
        return (
            f"{count} annotations cannot be matched by any prediction and count as "
            f"false negatives. Fix or remove them: {named}{more}"
        )


def check_ground_truth(truth: Mapping[str, Any], task: Task = "bbox") -> SelfCheck:
    """Check that COCO JSON scores AP 100 against itself.

    The limit of detections per image is raised to the highest object count. Crowd regions are not
    predicted. Annotations that cannot match themselves (no area, non-finite coordinates, an empty
    mask) are excluded and listed in the result.

    Raises:
        DataError: AP is not 100, an object was not matched, or ids are inconsistent.
    """
    images = {image["id"]: image for image in truth["images"]}
    problems = _id_problems(truth, set(images))
    if problems:
        raise DataError(
            f"the ground truth has inconsistent ids: {'; '.join(problems)}. Fix these ids."
        )
    kept, detections, unmatchable = [], [], []
    for annotation in truth["annotations"]:
        image = images[annotation["image_id"]]
        reason = _why_unmatchable(annotation, image, task)
        if reason:
            name = image.get("file_name", image["id"])
            unmatchable.append(f"annotation {annotation.get('id')} ({name}): {reason}")
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
    false_negatives = _false_negatives(metrics, kept)
    if false_negatives or (metrics.ap is not None and abs(metrics.ap - _PERFECT) > _TOLERANCE):
        raise DataError(
            "used as predictions, the ground truth matches only "
            f"{len(detections) - len(false_negatives)} of {len(detections)} objects and scores "
            f"{task} AP {metrics.ap or 0.0:.3f} instead of 100, so metrics on it cannot be "
            f"trusted. Not matched: annotation ids {false_negatives[:_MAX_LISTED]}. Check their "
            "area, box and mask."
        )
    return SelfCheck(metrics.ap, len(detections), tuple(unmatchable))


def _id_problems(truth: Mapping[str, Any], image_ids: set[Any]) -> list[str]:
    """Return duplicate ids, and annotations with an unknown image or category id."""
    problems = []
    for key in ("images", "categories"):
        counts = Counter(entry["id"] for entry in truth[key])
        if duplicates := [number for number, count in counts.items() if count > 1]:
            problems.append(f"{key} have duplicate ids {duplicates[:_MAX_LISTED]}")
    category_ids = {category["id"] for category in truth["categories"]}
    for key, known in (("image_id", image_ids), ("category_id", category_ids)):
        unknown = [
            annotation.get("id")
            for annotation in truth["annotations"]
            if annotation.get(key) not in known
        ]
        if unknown:
            problems.append(
                f"{len(unknown)} annotations have an unknown {key} "
                f"(annotation ids {unknown[:_MAX_LISTED]})"
            )
    return problems


def _why_unmatchable(annotation: dict[str, Any], image: dict[str, Any], task: Task) -> str | None:
    """Return why an annotation cannot match itself, or None if it can."""
    box = annotation["bbox"]
    if not all(math.isfinite(value) for value in box):
        return f"its box {box} has non-finite coordinates"
    if task == "bbox":
        return None if box[2] > 0 and box[3] > 0 else f"its box {box} has no area"
    if not annotation.get("segmentation"):
        return "it has no mask"
    if mask_api.area(_rasterize(annotation, image)) == 0:
        return "its mask is empty"
    return None


def _rasterize(annotation: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """Return an annotation's mask as compressed RLE, like COCO's API."""
    segmentation = annotation["segmentation"]
    height, width = image["height"], image["width"]
    if isinstance(segmentation, list):
        return dict(mask_api.merge(mask_api.frPyObjects(segmentation, height, width)))
    if isinstance(segmentation["counts"], list):
        return dict(mask_api.frPyObjects(segmentation, height, width))
    return dict(segmentation)


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


def _false_negatives(metrics: Metrics, kept: list[dict[str, Any]]) -> list[Any]:
    """Return the ids of the objects among `kept` that were not matched."""
    found = set(metrics.matches.annotation[metrics.matches.true_positive].tolist())
    return [
        annotation.get("id")
        for position, annotation in enumerate(kept)
        if position not in found and not annotation.get("iscrowd", 0)
    ]
