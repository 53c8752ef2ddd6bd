"""Finds outliers in object size, object shape and objects per image, to be checked by eye."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding
from detfinetune.checks.objects.boxes import edges_touched
from detfinetune.checks.objects.group_statistics import NORMAL_MAD, grouped_spread
from detfinetune.checks.places import AllObjects, counted
from detfinetune.labels.dataset.table import LabelTable

MOST_LISTED = 50
"""Places listed for one finding, the farthest first."""

_FEWEST_OBJECTS = 20
_FEWEST_IMAGES = 20
_FAR = 6.0
"""Robust standard deviations. 3.5 is usual for normal distributions (Iglewicz and Hoaglin 1993);
logarithms of sizes have longer tails."""

_FAR_COUNT = 5.0
_LEAST_SPREAD = 0.1
"""Log units: if a class has one size, a tenth more or less is not an outlier."""

_MOST_FAR_SHARE = 0.05


def check_outliers(tables: Mapping[str, LabelTable], classes: Sequence[str]) -> list[Finding]:
    """Return objects far from their class in size or shape, and images in number of objects.

    The distance is the robust z-score: difference from the class median in units of 1.4826 x MAD.
    Classes with fewer than 20 objects are left out. All splits are taken together.

    Args:
        tables: by split.
        classes: names by contiguous class id.
    """
    objects = AllObjects(tables)
    solid = np.flatnonzero(~objects.crowd)
    if not len(solid):
        return []
    # Objects truncated by the image edge have any size and shape.
    whole = solid[~edges_touched(objects)[solid].any(axis=1)]
    found = [
        _sizes(objects, whole, classes),
        _shapes(objects, whole, classes),
        _counts(objects, solid),
    ]
    return [finding for finding in found if finding is not None]


def _sizes(objects: AllObjects, whole: NDArray[np.int64], classes: Sequence[str]) -> Finding | None:
    # Relative to the image, because images of several resolutions show objects at one share.
    share = objects.areas[whole] / np.prod(objects.image_sizes[whole], axis=1)

    def detail(row: int, score: float, usual: float) -> str:
        times = float(np.sqrt(share[row]) / np.exp(usual))
        how = f"{max(times, 1 / times):.1f} times {'larger' if times > 1 else 'smaller'}"
        return f"side {how} than usual (z = {score:+.1f})"

    return _unusual(
        "unusual_size",
        "far larger or smaller",
        "a wrong class, several objects in one box, or an accident",
        np.log(share) / 2, objects, whole, classes, detail,
    )  # fmt: skip


def _shapes(
    objects: AllObjects, whole: NDArray[np.int64], classes: Sequence[str]
) -> Finding | None:
    aspect = objects.boxes[whole, 2] / objects.boxes[whole, 3]

    def detail(row: int, score: float, usual: float) -> str:
        return f"width / height {aspect[row]:.2g}, usually {np.exp(usual):.2g} (z = {score:+.1f})"

    return _unusual(
        "unusual_shape",
        "far wider or higher",
        "two objects in one box, half an object, or swapped width and height",
        np.log(aspect), objects, whole, classes, detail,
    )  # fmt: skip


def _unusual(
    kind: str,
    what: str,
    causes: str,
    values: NDArray[np.float64],
    objects: AllObjects,
    whole: NDArray[np.int64],
    classes: Sequence[str],
    detail: Callable[[int, float, float], str],
) -> Finding | None:
    """Find objects whose value is far from the median of their class, the farthest first.

    Args:
        kind: of the finding.
        what: completes `12 objects are ... than others of the class`.
        causes: what may be wrong with them.
        values: of the objects in `whole`; (n,).
        objects: all objects.
        whole: the objects to check; (n,).
        classes: names by contiguous class id.
        detail: what is wrong, given a row of `whole`, its z-score and the median of its class.
    """
    groups = objects.categories[whole]
    medians, spread = grouped_spread(values, groups, len(classes))
    scores = (values - medians[groups]) / np.maximum(spread, _LEAST_SPREAD)[groups]
    far = np.abs(scores) > _FAR
    counts = np.bincount(groups, minlength=len(classes))
    # A class with more than a twentieth of such objects has two usual sizes, and no outliers.
    many = np.bincount(groups[far], minlength=len(classes)) > _MOST_FAR_SHARE * counts
    rows = np.flatnonzero(far & ~(many | (counts < _FEWEST_OBJECTS))[groups])
    if not len(rows):
        return None
    rows = rows[np.argsort(-np.abs(scores[rows]), kind="stable")]
    row_of = {int(whole[row]): row for row in rows[:MOST_LISTED].tolist()}

    def place_detail(index: int) -> str:
        row = row_of[index]
        of_class = groups[row]
        return f"{classes[of_class]}: {detail(row, float(scores[row]), float(medians[of_class]))}"

    return Finding(
        kind,
        "note",
        f"{counted(len(rows), 'object is', 'objects are')} {what} than others of the class.",
        f"Check them: {causes}; or just rare.",
        objects.places(row_of, place_detail),
        {"objects": len(rows), "z": _FAR},
    )


def _counts(objects: AllObjects, solid: NDArray[np.int64]) -> Finding | None:
    """Find images with far more or fewer objects; negatives are not outliers."""
    counts = np.bincount(objects.images[solid], minlength=objects.num_images)
    there = np.flatnonzero(counts)
    if len(there) < _FEWEST_IMAGES:
        return None
    logs = np.log(counts[there])
    median = float(np.median(logs))
    # The spread is at least one object: one more or less is never an outlier.
    least = np.log1p(np.exp(-median))
    spread = max(NORMAL_MAD * float(np.median(np.abs(logs - median))), least)
    scores = (logs - median) / spread
    far = np.flatnonzero(np.abs(scores) > _FAR_COUNT)
    if not len(far) or len(far) > _MOST_FAR_SHARE * len(there):
        return None
    far = far[np.argsort(-np.abs(scores[far]), kind="stable")]
    usual = round(float(np.exp(median)))
    more = int((scores[far] > 0).sum())
    how = "more" if more == len(far) else f"more ({more}) or fewer" if more else "fewer"
    return Finding(
        "unusual_count",
        "note",
        f"{counted(len(far), 'image has', 'images have')} far {how} objects than the usual "
        f"{usual}.",
        "Check them: not fully labelled, or another kind of image.",
        tuple(
            objects.image_place(
                int(there[row]), f"{counted(int(counts[there[row]]), 'object')}, usually {usual}"
            )
            for row in far[:MOST_LISTED].tolist()
        ),
        {"images": len(far), "usual": usual, "z": _FAR_COUNT},
    )
