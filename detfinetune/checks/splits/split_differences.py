"""Compares a split with the training split: object sizes, objects per image, negatives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding, Place
from detfinetune.checks.places import percent
from detfinetune.checks.splits.sample_statistics import Comparison, compare_samples, share_z
from detfinetune.labels.dataset.table import LabelTable

_LARGE_DISTANCE = 0.3
"""Kolmogorov-Smirnov distance from which a difference matters; splits of four public data sets stay
below it."""

_UNLIKELY = 0.001
_NEGATIVES_APART = 0.15
_STANDARD_ERRORS = 3.3


def compare_splits(train: LabelTable, split: str, table: LabelTable) -> list[Finding]:
    """Compare object sizes, objects per image and negatives with the training split."""
    if not (_solid(train).any() and _solid(table).any()):
        return []
    with_objects = (_images_with_objects(train), _images_with_objects(table))
    sizes = compare_samples(_object_sizes(train), _object_sizes(table), with_objects)
    per_image = compare_samples(
        np.diff(train.starts).astype(float), np.diff(table.starts).astype(float)
    )
    found = [
        _differ(
            "split_sizes_differ",
            split,
            sizes,
            f"Objects of split {split} differ in size: the median is "
            f"{percent(sizes.medians[1])} of the image side, in training "
            f"{percent(sizes.medians[0])}",
        ),
        _differ(
            "split_density_differs",
            split,
            per_image,
            f"Images of split {split} differ in the number of objects: the median is "
            f"{per_image.medians[1]:g}, in training {per_image.medians[0]:g}",
        ),
        _negatives_differ(train, split, table),
    ]
    return [finding for finding in found if finding is not None]


def _differ(kind: str, split: str, comparison: Comparison, title: str) -> Finding | None:
    if comparison.distance < _LARGE_DISTANCE or comparison.p_value > _UNLIKELY:
        return None
    return Finding(
        kind,
        "warning",
        f"{title} (Kolmogorov-Smirnov distance {comparison.distance:.2f}).",
        "Find out why: another camera or annotator, or images that were sorted before splitting. "
        f"Metrics on {split} then say little about training.",
        (Place(split, detail=f"distance {comparison.distance:.2f}"),),
        {
            "distance": round(comparison.distance, 3),
            "p_value": comparison.p_value,
            "median_train": comparison.medians[0],
            f"median_{split}": comparison.medians[1],
        },
    )


def _negatives_differ(train: LabelTable, split: str, table: LabelTable) -> Finding | None:
    (a, n), (b, m) = ((int((np.diff(t.starts) == 0).sum()), t.num_images) for t in (train, table))
    apart = abs(a / n - b / m)
    if apart < _NEGATIVES_APART or share_z((a, n), (b, m)) < _STANDARD_ERRORS:
        return None
    return Finding(
        "split_negatives_differ",
        "warning",
        f"{percent(b / m)} of the images of split {split} have no object, in training "
        f"{percent(a / n)}.",
        "Split again at random, or check whether one split is not fully labelled yet.",
        (Place(split, detail=f"{b} of {m} images without objects; in train {a} of {n}"),),
        {"train": round(a / n, 4), split: round(b / m, 4)},
    )


def _solid(table: LabelTable) -> NDArray[np.bool_]:
    return ~table.crowd


def _images_with_objects(table: LabelTable) -> int:
    return int((np.diff(table.starts) > 0).sum())


def _object_sizes(table: LabelTable) -> NDArray[np.float64]:
    """Return the square root of box area over image area; (objects without crowd regions,)."""
    images = np.prod(table.sizes[table.image_of], axis=1)
    sizes: NDArray[np.float64] = np.sqrt(table.boxes[:, 2] * table.boxes[:, 3] / images)
    return sizes[_solid(table)]
