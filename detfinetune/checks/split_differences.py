"""How a split differs from the training split: object sizes, crowding, negatives, classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding, Place
from detfinetune.checks.places import percent
from detfinetune.checks.samples import Comparison, compare_samples, share_z
from detfinetune.labels.dataset.table import LabelTable

_LARGE_DISTANCE = 0.3
"""Kolmogorov-Smirnov distance from which a difference matters; the splits of four public sets stay
below it."""

_UNLIKELY = 0.001
_NEGATIVES_APART = 0.15
_STANDARD_ERRORS = 3.3
_CLASSES_APART = 0.25
_FEWEST_IMAGES = 20


def compare_splits(
    train: LabelTable, split: str, table: LabelTable, classes: Sequence[str]
) -> list[Finding]:
    """Compare a split with the training split: sizes, crowding, negatives, mix of classes."""
    if not (_solid(train).any() and _solid(table).any()):
        return []
    with_objects = (_images_with_objects(train), _images_with_objects(table))
    sizes = compare_samples(_object_sizes(train), _object_sizes(table), with_objects)
    crowding = compare_samples(
        np.diff(train.starts).astype(float), np.diff(table.starts).astype(float)
    )
    found = [
        _differ(
            "split_sizes_differ",
            split,
            sizes,
            f"Objects of split {split} have another size: half are below "
            f"{percent(sizes.medians[1])} of their image's side, in training "
            f"{percent(sizes.medians[0])}",
        ),
        _differ(
            "split_crowding_differs",
            split,
            crowding,
            f"Images of split {split} hold another number of objects: {crowding.medians[1]:g} in "
            f"the median, in training {crowding.medians[0]:g}",
        ),
        _negatives_differ(train, split, table),
        _classes_differ(train, split, table, classes),
    ]
    return [finding for finding in found if finding is not None]


def _differ(kind: str, split: str, comparison: Comparison, title: str) -> Finding | None:
    if comparison.distance < _LARGE_DISTANCE or comparison.chance > _UNLIKELY:
        return None
    return Finding(
        kind,
        "warning",
        f"{title} (Kolmogorov-Smirnov distance {comparison.distance:.2f}).",
        "Find out why: other cameras, another labeller, or images sorted before they were split. "
        f"Figures on {split} then say little about what training did.",
        (Place(split, detail=f"distance {comparison.distance:.2f}"),),
        {
            "distance": round(comparison.distance, 3),
            "chance": comparison.chance,
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
        f"{percent(b / m)} of the images of split {split} have no object, of training "
        f"{percent(a / n)}.",
        "Split again at random, or check whether images of one split are only not labelled yet.",
        (Place(split, detail=f"{b} of {m} without object; in train {a} of {n}"),),
        {"train": round(a / n, 4), split: round(b / m, 4)},
    )


def _classes_differ(
    train: LabelTable, split: str, table: LabelTable, classes: Sequence[str]
) -> Finding | None:
    """Compare the shares of classes: half the sum of their differences, from 0 to 1."""
    if min(_images_with_objects(train), _images_with_objects(table)) < _FEWEST_IMAGES:
        return None
    counts = [np.bincount(t.categories[_solid(t)], minlength=len(classes)) for t in (train, table)]
    shares = [count / count.sum() for count in counts]
    distance = float(np.abs(shares[0] - shares[1]).sum() / 2)
    if distance < _CLASSES_APART:
        return None
    most = int(np.argmax(np.abs(shares[0] - shares[1])))
    return Finding(
        "split_classes_differ",
        "note",
        f"Split {split} has another mix of classes; '{classes[most]}' is "
        f"{percent(shares[1][most])} of its objects, in training {percent(shares[0][most])}.",
        "Split again by class if the images are of one source. The mean AP weighs classes alike, "
        "so that it suffers little.",
        (Place(split, detail=f"distance {distance:.2f}", category=most),),
        {"distance": round(distance, 3)},
    )


def _solid(table: LabelTable) -> NDArray[np.bool_]:
    return ~table.crowd


def _images_with_objects(table: LabelTable) -> int:
    return int((np.diff(table.starts) > 0).sum())


def _object_sizes(table: LabelTable) -> NDArray[np.float64]:
    """Return the root of each object's share of its image; (objects without crowds,)."""
    images = np.prod(table.sizes[table.image_of], axis=1)
    sizes: NDArray[np.float64] = np.sqrt(table.boxes[:, 2] * table.boxes[:, 3] / images)
    return sizes[_solid(table)]
