"""Why AP is 0, near 0 or not a number: says which known cause the data shows.

Each cause is tested on the detections themselves: a category shift by scoring them with classes
left aside, a wrong size or orientation by scoring them after scaling, turning or reading their
numbers another way. A cause is named only when undoing it lets the detections find the objects.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from detfinetune.config.schema import Task
from detfinetune.evaluation.metrics import (
    DEFAULT_DETECTIONS_PER_IMAGE,
    Detection,
    Metrics,
    score_detections,
)

LOW_AP = 1.0
"""AP (0-100) below which a cause is looked for."""

Boxes = npt.NDArray[np.float64]
"""Boxes as XYWH rows in pixels, shape [N, 4]."""

# A remedy is believed when it lets the detections find this share of the objects, and several
# times what they found as they are.
_CONVINCING = 0.3
_TIMES_BETTER = 3.0
# Scales from about 1/5 to 5 are tried.
_SCALE_STEP, _SCALE_STEPS = 1.02, 80
# Images that are looked at for a wrong size or orientation.
_MOST_IMAGES = 50
_BUCKETS = {"s": "small (under 32x32 px)", "m": "medium", "l": "large (96x96 px and more)"}


def diagnose(
    truth: Mapping[str, Any],
    detections: Sequence[Detection],
    metrics: Metrics,
) -> list[str]:
    """Return the causes found, one a line; empty when AP is 1 or more.

    Args:
        truth: COCO JSON that was scored against.
        detections: COCO results that were scored.
        metrics: what they scored.
    """
    objects = [entry for entry in truth["annotations"] if not entry.get("iscrowd", 0)]
    if not objects:
        return [
            f"the split holds {len(truth['images'])} images without a single object, so AP is not "
            "a number. Evaluate a split that has objects."
        ]
    if metrics.ap is not None and metrics.ap >= LOW_AP:
        return []
    if not detections:
        return [
            f"the model predicted nothing on {len(truth['images'])} images. It has not learnt yet "
            "(train longer, or start from pretrained weights), or its score threshold is too high "
            "(MODEL.ROI_HEADS.SCORE_THRESH_TEST)."
        ]
    causes = [*_category_shift(truth, detections, metrics), *_misplaced(truth, detections)]
    if not causes:
        causes.append(_no_known_cause(truth, detections, metrics, len(objects)))
    return causes


def empty_buckets(metrics: Metrics) -> list[str]:
    """Return a line for each object size that the split does not hold; such an AP is no fault."""
    if metrics.ap is None:
        return []
    return [
        f"AP{letter} is '-': the split holds no {size} object"
        for letter, size in _BUCKETS.items()
        if metrics.figures[f"AP{letter}"] is None
    ]


def _category_shift(
    truth: Mapping[str, Any], detections: Sequence[Detection], metrics: Metrics
) -> list[str]:
    """Look for detections that are right in place and wrong in class."""
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
    recall = int(merged.matches.hit.sum()) / max(1, sum(merged.matches.num_objects.values()))
    if recall < _CONVINCING:
        return []
    pairs = Counter(
        (
            detections[found]["category_id"],
            truth["annotations"][position]["category_id"],
        )
        for found, position, hit in zip(
            merged.matches.detection, merged.matches.annotation, merged.matches.hit, strict=True
        )
        if hit
    )
    wrong = Counter({pair: count for pair, count in pairs.items() if pair[0] != pair[1]})
    if wrong.total() <= pairs.total() / 2:
        return []
    names = {category["id"]: category["name"] for category in truth["categories"]}
    return [
        f"the boxes are right but their classes are not: with classes left aside AP50 is "
        f"{merged.figures['AP50'] or 0.0:.1f}. {_name_shift(wrong, sorted(names), names)}"
    ]


def _name_shift(pairs: Counter[tuple[int, int]], ids: list[int], names: dict[int, str]) -> str:
    """Say how the predicted categories turn into the true ones, given counts of such pairs."""
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
            f"Predicted classes are {abs(step)} too {how}: {examples}. Compare where the class "
            "numbers start (data.first_class) and the order of the class names."
        )
    return (
        f"Predicted are {examples}. Compare the order of the class names of the model and the data."
    )


def _misplaced(truth: Mapping[str, Any], detections: Sequence[Detection]) -> list[str]:
    """Look for a change of scale, orientation or box format that makes the boxes fit."""
    sizes = {image["id"]: (image["width"], image["height"]) for image in truth["images"]}
    groups = _by_image(truth, detections, sizes)
    found, _ = _fit(groups, lambda boxes, size: boxes)
    # The overlap decides among changes that find as many objects, such as neighbouring scales.
    (best, _), remedy = max((_fit(groups, change), name) for name, change in _changes())
    if best < _CONVINCING or best < _TIMES_BETTER * found:
        return []
    return [
        f"the boxes are misplaced: as they are they overlap {found:.0%} of the objects, "
        f"{remedy} {best:.0%}. {_outside(groups)}The sizes in the JSON, of the files and of "
        "the predictions do not agree; convert the labels again so that sizes come from the files."
    ]


_Change = Callable[[Boxes, tuple[float, float]], Boxes]
_Group = tuple[Boxes, Boxes, tuple[float, float]]


def _by_image(
    truth: Mapping[str, Any],
    detections: Sequence[Detection],
    sizes: Mapping[int, tuple[float, float]],
) -> list[_Group]:
    """Return objects, the best detections (twice as many) and the size of each labelled image."""
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
        for image, boxes in islice(objects.items(), _MOST_IMAGES)
    ]


def _changes() -> Iterator[tuple[str, _Change]]:
    """Yield what may have gone wrong with boxes, and its remedy."""
    # A box far from the corner leaves its place quickly as the scale goes wrong, so steps are fine.
    for step in range(-_SCALE_STEPS, _SCALE_STEPS + 1):
        factor = _SCALE_STEP**step
        if abs(factor - 1) > 0.05:
            yield f"scaled by about {factor:.2g}", _scaling(factor)
    yield "turned a quarter to the right", _turn_right
    yield "turned a quarter to the left", _turn_left
    yield (
        "turned upside down",
        lambda boxes, size: _turn_right(_turn_right(boxes, size), (size[1], size[0])),
    )
    yield "read as x1, y1, x2, y2", _from_corners
    yield "read as centre, width and height", _from_centre
    yield "read as fractions of the image", _from_normalized


def _scaling(factor: float) -> _Change:
    return lambda boxes, size: boxes * factor


def _turn_right(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    """Turn boxes of an unturned image, which is `size` turned, clockwise by a quarter."""
    width = size[0]
    x, y, w, h = boxes.T
    return np.stack([width - y - h, x, h, w], axis=1)


def _turn_left(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    height = size[1]
    x, y, w, h = boxes.T
    return np.stack([y, height - x - w, h, w], axis=1)


def _from_corners(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _from_centre(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)


def _from_normalized(boxes: Boxes, size: tuple[float, float]) -> Boxes:
    return boxes * np.array([*size, *size], dtype=np.float64)


def _fit(groups: list[_Group], change: _Change) -> tuple[float, float]:
    """Return what changed detections reach: the share of objects that some detection overlaps
    with IoU 0.5 or more, and the mean of each object's best IoU."""
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
    """Say how many predictions reach out of their image by more than a pixel."""
    outside = total = 0
    for _, predicted, (width, height) in groups:
        total += len(predicted)
        right, bottom = predicted[:, 0] + predicted[:, 2], predicted[:, 1] + predicted[:, 3]
        outside += int(((right > width + 1) | (bottom > height + 1)).sum())
    return f"{outside} of {total} predictions reach out of their image. " if outside else ""


def _no_known_cause(
    truth: Mapping[str, Any], detections: Sequence[Detection], metrics: Metrics, num_objects: int
) -> str:
    highest = max(detection["score"] for detection in detections)
    task: Task = metrics.task
    words = "masks" if task == "segm" else "boxes"
    limit = metrics.detections_per_image
    return (
        f"{len(detections)} {words} were predicted on {len(truth['images'])} images with "
        f"{num_objects} objects (highest score {highest:.2f}), and no known mistake in classes, "
        "sizes or orientation explains the low AP. The model has most likely not learnt yet: "
        "train longer, start from pretrained weights, and look at the pictures."
        + (
            f" At most {limit} predictions an image were counted."
            if limit < DEFAULT_DETECTIONS_PER_IMAGE
            else ""
        )
    )
