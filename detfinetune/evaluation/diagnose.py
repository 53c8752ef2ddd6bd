"""Diagnose an AP of 0, near 0, or undefined: test known causes on the detections.

A category shift is tested by scoring without classes; a wrong size, orientation or box format by
transforming the boxes. A cause is reported only if correcting it makes the detections match.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from detfinetune.evaluation.metrics import (
    DEFAULT_DETECTIONS_PER_IMAGE,
    Detection,
    Metrics,
    score_detections,
)

LOW_AP = 1.0
"""AP (0-100) below which causes are tested."""

Boxes = npt.NDArray[np.float64]
"""Boxes as XYWH rows in absolute coordinates, shape [N, 4]."""

# A correction counts if it raises recall to at least this value, and by at least this factor.
_MIN_RECALL = 0.3
_MIN_IMPROVEMENT = 3.0
# AP50 without regard to classes from which on boxes count as learnt. Recall alone would not do:
# some of a hundred random boxes fit by chance.
_MIN_AP50 = 20.0
# Scales from about 1/5 to 5 are tested.
_SCALE_STEP, _SCALE_STEPS = 1.02, 80
# Number of images on which size and orientation are tested.
_MAX_IMAGES = 50
_SIZE_RANGES = {"s": "small (under 32x32 px)", "m": "medium", "l": "large (96x96 px and more)"}


def diagnose(
    truth: Mapping[str, Any],
    detections: Sequence[Detection],
    metrics: Metrics,
) -> list[str]:
    """Return one line per cause found; empty when AP is 1 or more.

    Args:
        truth: ground truth as COCO JSON.
        detections: COCO results.
        metrics: of these detections.
    """
    objects = [entry for entry in truth["annotations"] if not entry.get("iscrowd", 0)]
    if not objects:
        return [
            f"the split has {len(truth['images'])} images but no objects, so AP is undefined. "
            "Evaluate a split that has objects."
        ]
    if metrics.ap is not None and metrics.ap >= LOW_AP:
        return []
    if not detections:
        return [
            f"the model predicted nothing on {len(truth['images'])} images. Train longer, start "
            "from pretrained weights, or lower the score threshold "
            "(detectron2.MODEL.ROI_HEADS.SCORE_THRESH_TEST)."
        ]
    causes = [*_category_shift(truth, detections, metrics), *_misplaced(truth, detections)]
    if not causes:
        causes.append(_no_known_cause(truth, detections, metrics, len(objects)))
    return causes


def empty_size_ranges(metrics: Metrics) -> list[str]:
    """Return a note for each size range without objects, whose AP is undefined."""
    if metrics.ap is None:
        return []
    return [
        f"AP{letter} is '-': the split has no {size} objects"
        for letter, size in _SIZE_RANGES.items()
        if metrics.figures[f"AP{letter}"] is None
    ]


def _category_shift(
    truth: Mapping[str, Any], detections: Sequence[Detection], metrics: Metrics
) -> list[str]:
    """Look for detections with correct boxes but wrong classes."""
    if len(truth["categories"]) < 2:
        return []
    merged = score_detections(
        {
            "images": truth["images"],
            "categories": [{"id": 1, "name": "object"}],
            "annotations": [{**entry, "category_id": 1} for entry in truth["annotations"]],
        },
        [{**entry, "category_id": 1} for entry in detections],
        metrics.task,
        metrics.detections_per_image,
    )
    if (merged.figures["AP50"] or 0.0) < _MIN_AP50:
        return []
    pairs = Counter(
        (
            detections[found]["category_id"],
            truth["annotations"][position]["category_id"],
        )
        for found, position, true_positive in zip(
            merged.matches.detection,
            merged.matches.annotation,
            merged.matches.true_positive,
            strict=True,
        )
        if true_positive
    )
    wrong = Counter({pair: count for pair, count in pairs.items() if pair[0] != pair[1]})
    if wrong.total() <= pairs.total() / 2:
        return []
    names = {category["id"]: category["name"] for category in truth["categories"]}
    return [
        f"the boxes are correct but their classes are wrong: ignoring classes, AP50 is "
        f"{merged.figures['AP50'] or 0.0:.1f}. {_describe_shift(wrong, sorted(names), names)}"
    ]


def _describe_shift(pairs: Counter[tuple[int, int]], ids: list[int], names: dict[int, str]) -> str:
    """Describe how predicted categories differ from true ones, from counts of such pairs."""
    place = {category: position for position, category in enumerate(ids)}
    steps: Counter[int] = Counter()
    for (predicted, true), count in pairs.items():
        if predicted in place:
            steps[place[true] - place[predicted]] += count
    examples = ", ".join(
        f"'{names.get(predicted, predicted)}' for '{names[true]}' ({count} times)"
        for (predicted, true), count in pairs.most_common(3)
    )
    step, count = steps.most_common(1)[0] if steps else (0, 0)
    total = sum(pairs.values())
    if step and count > total / 2:
        how = "high" if step < 0 else "low"
        return (
            f"Predicted class ids are {abs(step)} too {how}: {examples}. Check the id of the first "
            "class (data.first_class) and the order of the class names."
        )
    return f"The model predicts {examples}. Compare the order of the class names in model and data."


def _misplaced(truth: Mapping[str, Any], detections: Sequence[Detection]) -> list[str]:
    """Look for a change of scale, orientation or box format that makes the boxes match."""
    sizes = {image["id"]: (image["width"], image["height"]) for image in truth["images"]}
    groups = _by_image(truth, detections, sizes)
    found, _ = _overlap(groups, lambda boxes, size: boxes)
    # Mean IoU breaks ties in recall, as between neighbouring scales.
    (best, _), remedy = max((_overlap(groups, change), name) for name, change in _box_transforms())
    if best < _MIN_RECALL or best < _MIN_IMPROVEMENT * found:
        return []
    return [
        f"the boxes are misplaced: they match {found:.0%} of the objects, but {best:.0%} when "
        f"{remedy}. {_outside(groups)}Labels, image files and predictions differ in image size, "
        "orientation or box format. Convert the labels again with the sizes of the image files."
    ]


_BoxTransform = Callable[[Boxes, tuple[float, float]], Boxes]
_Group = tuple[Boxes, Boxes, tuple[float, float]]


def _by_image(
    truth: Mapping[str, Any],
    detections: Sequence[Detection],
    sizes: Mapping[int, tuple[float, float]],
) -> list[_Group]:
    """Return each labelled image's objects, up to twice as many top detections, and size."""
    objects: dict[int, list[Any]] = defaultdict(list)
    for entry in truth["annotations"]:
        if not entry.get("iscrowd", 0):
            objects[entry["image_id"]].append(entry["bbox"])
    predicted: dict[int, list[Any]] = defaultdict(list)
    for detection in sorted(detections, key=lambda entry: -entry["score"]):
        image = detection["image_id"]
        if "bbox" in detection and len(predicted[image]) < 2 * len(objects[image]):
            predicted[image].append(detection["bbox"])
    return [
        (
            np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
            np.asarray(predicted[image], dtype=np.float64).reshape(-1, 4),
            sizes[image],
        )
        for image, boxes in islice(objects.items(), _MAX_IMAGES)
    ]


def _box_transforms() -> Iterator[tuple[str, _BoxTransform]]:
    """Yield corrections of boxes, each with its description."""
    # The steps are small: far from the origin, boxes soon stop overlapping as the scale changes.
    for step in range(-_SCALE_STEPS, _SCALE_STEPS + 1):
        factor = _SCALE_STEP**step
        if abs(factor - 1) > 0.05:
            yield f"scaled by about {factor:.2g}", _scaling(factor)
    yield "rotated by 90 degrees clockwise", _rotate_clockwise
    yield "rotated by 90 degrees counter-clockwise", _rotate_counterclockwise
    yield (
        "rotated by 180 degrees",
        lambda boxes, size: _rotate_clockwise(_rotate_clockwise(boxes, size), (size[1], size[0])),
    )
    yield "read as xyxy", _from_xyxy
    yield "read as cxcywh", _from_cxcywh
    yield "read as normalized coordinates", _from_normalized


def _scaling(factor: float) -> _BoxTransform:
    return lambda boxes, size: boxes * factor


def _rotate_clockwise(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    """Rotate boxes clockwise by 90 degrees; `size` is that of the rotated image."""
    width = size[0]
    x, y, w, h = boxes.T
    return np.stack([width - y - h, x, h, w], axis=1)


def _rotate_counterclockwise(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    height = size[1]
    x, y, w, h = boxes.T
    return np.stack([y, height - x - w, h, w], axis=1)


def _from_xyxy(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _from_cxcywh(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)


def _from_normalized(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    return boxes * np.array([*size, *size], dtype=np.float64)


def _overlap(groups: list[_Group], change: _BoxTransform) -> tuple[float, float]:
    """Return recall at IoU 0.5 and the mean of each object's best IoU, for changed detections."""
    best = [
        pairwise_iou(objects, change(predicted, size)).max(axis=1)
        if len(predicted)
        else np.zeros(len(objects))
        for objects, predicted, size in groups
    ]
    overlaps = np.concatenate(best) if best else np.zeros(1)
    return float((overlaps >= 0.5).mean()), float(overlaps.mean())


def pairwise_iou(first: Boxes, second: Boxes) -> npt.NDArray[np.float64]:
    """Return IoU of XYWH boxes, [N, 4] and [M, 4], as [N, M]; 0 where a box has no area."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(
        first[:, None, :2] + first[:, None, 2:], second[None, :, :2] + second[None, :, 2:]
    )
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:], 0, None).prod(axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - overlap
    result: npt.NDArray[np.float64] = np.divide(
        overlap, union, out=np.zeros_like(overlap), where=union > 0
    )
    return result


def _outside(groups: list[_Group]) -> str:
    """Describe how many predictions extend beyond their image by more than a pixel."""
    outside = total = 0
    for _, predicted, (width, height) in groups:
        total += len(predicted)
        right, bottom = predicted[:, 0] + predicted[:, 2], predicted[:, 1] + predicted[:, 3]
        outside += int(((right > width + 1) | (bottom > height + 1)).sum())
    return f"{outside} of {total} predictions extend beyond their image. " if outside else ""


def _no_known_cause(
    truth: Mapping[str, Any], detections: Sequence[Detection], metrics: Metrics, num_objects: int
) -> str:
    highest = max(detection["score"] for detection in detections)
    words = "masks" if metrics.task == "segm" else "boxes"
    limit = metrics.detections_per_image
    return (
        f"{len(detections)} {words} were predicted on {len(truth['images'])} images with "
        f"{num_objects} objects (highest score {highest:.2f}), and no known error in classes, "
        "sizes or orientation explains the low AP. The model is probably undertrained: train "
        "longer or start from pretrained weights, and look at the pictures."
        + (
            f" At most {limit} predictions per image and class were counted."
            if limit < DEFAULT_DETECTIONS_PER_IMAGE
            else ""
        )
    )
