"""Check for nearly identical boxes in an image: duplicates, or one box with two classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding, Place
from detfinetune.checks.places import MOST_PLACES, AllObjects, counted
from detfinetune.labels.dataset.table import LabelTable

SAME_IOU = 0.95
"""Boxes above this IoU were copied: boxes drawn twice by hand agree less (about 0.9)."""

_MOST_CLASS_PAIRS = 20
_NESTED_SHARE = 0.5
_FEWEST_NESTED = 10


def check_box_pairs(tables: Mapping[str, LabelTable], classes: Sequence[str]) -> list[Finding]:
    """Find boxes of one image with an IoU above 0.95, without crowd regions."""
    objects = AllObjects(tables)
    pairs, ious = near_pairs(objects.boxes, objects.images, objects.crowd)
    same = objects.categories[pairs[:, 0]] == objects.categories[pairs[:, 1]]
    findings = [
        _labelled_twice(objects, pairs[same], ious[same], classes),
        _two_classes(objects, pairs[~same], ious[~same], classes),
    ]
    return [finding for finding in findings if finding is not None]


def near_pairs(
    boxes: NDArray[np.float64],
    images: NDArray[np.int64],
    ignored: NDArray[np.bool_],
    threshold: float = SAME_IOU,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return pairs of boxes of one image whose IoU is at least `threshold`, and the IoUs.

    Boxes are sorted by their left edges. At an IoU of t, left edges are at most (1 - t) / t of
    the first box's width apart, so few pairs have to be compared.

    Args:
        boxes: xywh; (n, 4).
        images: image of each box; (n,).
        ignored: boxes to leave out; (n,).

    Returns:
        Indices, the lower one first, in order; (pairs, 2). IoUs; (pairs,).
    """
    order = np.lexsort((boxes[:, 0], images))
    order = order[~ignored[order]]
    left, width, image = boxes[order, 0], boxes[order, 2], images[order]
    reach = left + (1 - threshold) / threshold * width
    found: list[NDArray[np.int64]] = []
    active = np.arange(len(order) - 1)
    step = 1
    while len(active):
        active = active[active + step < len(order)]
        other = active + step
        near = (image[other] == image[active]) & (left[other] <= reach[active])
        active = active[near]
        found.append(np.stack([order[active], order[active + step]], axis=1))
        step += 1
    pairs = np.concatenate([np.empty((0, 2), np.int64), *found])
    pairs.sort(axis=1)
    ious = pair_ious(boxes[pairs[:, 0]], boxes[pairs[:, 1]])
    pairs, ious = pairs[ious >= threshold], ious[ious >= threshold]
    by_index = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[by_index], ious[by_index]


def pair_ious(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the IoU of each box with the one in the same row; both xywh, (n, 4)."""
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(first[:, 2:], axis=1) + np.prod(second[:, 2:], axis=1) - shared
    ious: NDArray[np.float64] = np.divide(shared, union, out=np.zeros(len(union)), where=union > 0)
    return ious


def _labelled_twice(
    objects: AllObjects,
    pairs: NDArray[np.int64],
    ious: NDArray[np.float64],
    classes: Sequence[str],
) -> Finding | None:
    if not len(pairs):
        return None
    twice = len(np.unique(pairs[:, 1]))
    return Finding(
        "near_duplicate_box",
        "warning",
        f"{counted(twice, 'object is', 'objects are')} labelled twice: same class, nearly the same "
        "box.",
        "Remove one of the two. A detection matches only one of them, so the other is always a "
        "false negative and limits AP.",
        _places(objects, pairs, ious, classes),
        {"objects": twice, "pairs": len(pairs), "least_iou": SAME_IOU},
    )


def _two_classes(
    objects: AllObjects,
    pairs: NDArray[np.int64],
    ious: NDArray[np.float64],
    classes: Sequence[str],
) -> Finding | None:
    if not len(pairs):
        return None
    counts = np.bincount(objects.categories, minlength=len(classes))
    kinds = Counter(
        (min(a, b), max(a, b)) for a, b in zip(*objects.categories[pairs].T.tolist(), strict=True)
    )
    by_name = {
        f"{classes[a]} / {classes[b]}": count
        for (a, b), count in kinds.most_common(_MOST_CLASS_PAIRS)
    }
    nested = [
        f"{classes[a]} / {classes[b]}"
        for (a, b), count in kinds.most_common(_MOST_CLASS_PAIRS)
        if count >= max(_FEWEST_NESTED, _NESTED_SHARE * min(counts[a], counts[b]))
    ]
    advice = (
        "Keep the right class. The detector is trained on one class for each box, so the two "
        "labels contradict each other."
    )
    if nested:
        advice += (
            f" {'; '.join(nested)}: so many coincide that one class may be a subclass of the "
            "other; keep only the subclass."
        )
    return Finding(
        "same_box_two_classes",
        "warning",
        f"{counted(len(pairs), 'box has', 'boxes have')} two classes.",
        advice,
        _places(objects, pairs, ious, classes),
        {"pairs": len(pairs), "by_classes": by_name, "least_iou": SAME_IOU},
    )


def _places(
    objects: AllObjects,
    pairs: NDArray[np.int64],
    ious: NDArray[np.float64],
    classes: Sequence[str],
) -> tuple[Place, ...]:
    places = []
    for (first, second), iou in zip(pairs[:MOST_PLACES].tolist(), ious.tolist(), strict=False):
        other = objects.place(first)
        names = [classes[objects.category(index)] for index in (second, first)]
        detail = f"{names[0]}: IoU {iou:.3f} with {names[1]} in {other.where}"
        places.append(objects.place(second, detail, other))
    return tuple(places)
