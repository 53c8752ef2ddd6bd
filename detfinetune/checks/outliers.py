"""Objects and images unlike the others: right or wrong, they are worth a second look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.boxes import edges_touched
from detfinetune.checks.findings import Finding
from detfinetune.checks.groups import NORMAL_MAD, grouped_spread
from detfinetune.checks.places import AllObjects, counted, percent
from detfinetune.labels.dataset.table import LabelTable

MOST_LISTED = 50
"""Places listed of one finding, the strangest first."""

_FEWEST_OBJECTS = 20
_FEWEST_IMAGES = 20
_STRANGE = 6.0
"""Robust standard deviations; 3.5 is the usual limit (Iglewicz and Hoaglin 1993) for what is
normal, but logarithms of sizes have longer tails."""

_STRANGE_COUNT = 5.0
_LEAST_SPREAD = 0.1
"""Log units: where a class has one size, a tenth more or less is not strange."""

_FIXED_SPREAD = 0.05
_LEAST_POSITION_SPREAD = 0.02
_MOST_STRANGE_SHARE = 0.05


def check_outliers(tables: Mapping[str, LabelTable], classes: Sequence[str]) -> list[Finding]:
    """Return objects far from their class in size, shape or position, and images in counts.

    How far is told by the robust z-score: distance from the class's median in units of 1.4826 x
    MAD. Classes of fewer than 20 objects are left out. All splits are taken together.

    Args:
        tables: by split.
        classes: names by contiguous class id.
    """
    objects = AllObjects(tables)
    solid = np.flatnonzero(~objects.crowd)
    if not len(solid):
        return []
    # What the image's edge cuts off has any size and shape.
    whole = solid[~edges_touched(objects)[solid].any(axis=1)]
    found = [
        _sizes(objects, whole, classes),
        _shapes(objects, whole, classes),
        _positions(objects, solid, classes),
        _counts(objects, solid),
    ]
    return [finding for finding in found if finding is not None]


def _sizes(objects: AllObjects, solid: NDArray[np.int64], classes: Sequence[str]) -> Finding | None:
    # As a share of the image, because pictures of several sizes show things at the same share.
    share = objects.areas[solid] / np.prod(objects.image_sizes[solid], axis=1)
    groups = objects.categories[solid]
    scores, medians = _scores(np.log(share) / 2, groups, len(classes))
    strange = _strangest(scores, groups, len(classes), _STRANGE)
    if not len(strange):
        return None
    by_index = {int(solid[row]): row for row in strange[:MOST_LISTED].tolist()}

    def detail(index: int) -> str:
        row = by_index[index]
        times = float(np.exp(np.log(share[row]) / 2 - medians[groups[row]]))
        how = f"{max(times, 1 / times):.1f} times {'larger' if times > 1 else 'smaller'} across"
        return f"{classes[groups[row]]} {how} than usual (z = {scores[row]:+.1f})"

    return Finding(
        "unusual_size",
        "note",
        f"{counted(len(strange), 'object is', 'objects are')} far larger or smaller than others "
        "of the class.",
        "Look at them: a wrong class, several objects in one box, or a slip; or just rare.",
        objects.places(by_index, detail),
        {"objects": len(strange), "z": _STRANGE},
    )


def _shapes(
    objects: AllObjects, solid: NDArray[np.int64], classes: Sequence[str]
) -> Finding | None:
    aspect = objects.boxes[solid, 2] / objects.boxes[solid, 3]
    groups = objects.categories[solid]
    scores, medians = _scores(np.log(aspect), groups, len(classes))
    strange = _strangest(scores, groups, len(classes), _STRANGE)
    if not len(strange):
        return None
    by_index = {int(solid[row]): row for row in strange[:MOST_LISTED].tolist()}

    def detail(index: int) -> str:
        row = by_index[index]
        usual = float(np.exp(medians[groups[row]]))
        return (
            f"{classes[groups[row]]} of width to height {aspect[row]:.2g}, usually {usual:.2g} "
            f"(z = {scores[row]:+.1f})"
        )

    return Finding(
        "unusual_shape",
        "note",
        f"{counted(len(strange), 'object is', 'objects are')} far wider or higher than others of "
        "the class.",
        "Look at them: two objects in one box, half of one, or width and height exchanged; or just "
        "rare.",
        objects.places(by_index, detail),
        {"objects": len(strange), "z": _STRANGE},
    )


def _positions(
    objects: AllObjects, solid: NDArray[np.int64], classes: Sequence[str]
) -> Finding | None:
    """Find objects away from where their class always is, across or down the image."""
    centres = (objects.boxes[solid, :2] + objects.boxes[solid, 2:] / 2) / objects.image_sizes[solid]
    groups = objects.categories[solid]
    best = np.zeros(len(solid))
    for axis in (0, 1):
        medians, spread = grouped_spread(centres[:, axis], groups, len(classes))
        fixed = spread < _FIXED_SPREAD
        distance = (centres[:, axis] - medians[groups]) / np.maximum(
            spread, _LEAST_POSITION_SPREAD
        )[groups]
        best = np.where(fixed[groups] & (np.abs(distance) > np.abs(best)), distance, best)
    strange = _strangest(best, groups, len(classes), _STRANGE)
    if not len(strange):
        return None
    by_index = {int(solid[row]): row for row in strange[:MOST_LISTED].tolist()}

    def detail(index: int) -> str:
        row = by_index[index]
        x, y = centres[row].tolist()
        return (
            f"{classes[groups[row]]} at {percent(x)} of the width and {percent(y)} of the height "
            f"(z = {best[row]:+.1f})"
        )

    return Finding(
        "unusual_position",
        "note",
        f"{counted(len(strange), 'object is', 'objects are')} far from where the class always is.",
        "Look at them: left and right or two classes exchanged, or a picture of another kind.",
        objects.places(by_index, detail),
        {"objects": len(strange), "z": _STRANGE},
    )


def _counts(objects: AllObjects, solid: NDArray[np.int64]) -> Finding | None:
    """Find images with far more or fewer objects; those without any are negatives, not strange."""
    counts = np.bincount(objects.images[solid], minlength=objects.num_images)
    there = np.flatnonzero(counts)
    if len(there) < _FEWEST_IMAGES:
        return None
    logs = np.log(counts[there])
    median = float(np.median(logs))
    # A single object more or less is never strange, so that the spread is at least that of one.
    least = np.log1p(np.exp(-median))
    spread = max(NORMAL_MAD * float(np.median(np.abs(logs - median))), least)
    scores = (logs - median) / spread
    strange = np.flatnonzero(np.abs(scores) > _STRANGE_COUNT)
    if not len(strange) or len(strange) > _MOST_STRANGE_SHARE * len(there):
        return None
    strange = strange[np.argsort(-np.abs(scores[strange]), kind="stable")]
    usual = round(float(np.exp(median)))
    more = int((scores[strange] > 0).sum())
    how = "more" if more == len(strange) else f"more ({more}) or fewer" if more else "fewer"
    return Finding(
        "unusual_count",
        "note",
        f"{counted(len(strange), 'image has', 'images have')} far {how} objects than the usual "
        f"{usual}.",
        "Look at them: an image that somebody stopped labelling, or another kind of picture.",
        tuple(
            objects.image_place(
                int(there[row]), f"{counted(int(counts[there[row]]), 'object')}, usually {usual}"
            )
            for row in strange[:MOST_LISTED].tolist()
        ),
        {"images": len(strange), "usual": usual, "z": _STRANGE_COUNT},
    )


def _scores(
    values: NDArray[np.float64], groups: NDArray[np.int32], num_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return robust z-scores, (n,), and the medians of the groups."""
    medians, spread = grouped_spread(values, groups, num_groups)
    return (values - medians[groups]) / np.maximum(spread, _LEAST_SPREAD)[groups], medians


def _strangest(
    scores: NDArray[np.float64], groups: NDArray[np.int32], num_groups: int, limit: float
) -> NDArray[np.int64]:
    """Return rows beyond the limit, the farthest first.

    Small classes are left out, and so are classes of which more than a twentieth is beyond it:
    they have two usual sizes, and none is strange.
    """
    beyond = np.abs(scores) > limit
    counts = np.bincount(groups, minlength=num_groups)
    many = np.bincount(groups[beyond], minlength=num_groups) > _MOST_STRANGE_SHARE * counts
    rows = np.flatnonzero(beyond & ~(many | (counts < _FEWEST_OBJECTS))[groups])
    return rows[np.argsort(-np.abs(scores[rows]), kind="stable")]
