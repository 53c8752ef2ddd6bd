"""Findings on duplicate images, within a split and across splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding, Place, Severity
from detfinetune.checks.images.duplicates import near_pairs
from detfinetune.checks.images.image_content import ImageFacts
from detfinetune.checks.places import counted
from detfinetune.labels.dataset.table import LabelTable

_SAME_BOX_PIXELS = 0.5


@dataclass(frozen=True, eq=False)
class ImageEntry:
    """An image of a split; one file can be in several splits."""

    split: str
    name: str
    """Path relative to the split's image root."""

    path: Path
    facts: ImageFacts
    table: LabelTable | None = None
    """None for an image that is in no split."""

    index: int = 0
    """Row of `table`."""

    @property
    def objects(self) -> NDArray[np.float64]:
        """Class id and xywh of each object; (objects, 5)."""
        if self.table is None:
            return np.empty((0, 5))
        span = slice(self.table.starts[self.index], self.table.starts[self.index + 1])
        return np.column_stack([self.table.categories[span], self.table.boxes[span]])


_Pair = tuple[ImageEntry, ImageEntry]


def duplicate_findings(entries: Sequence[ImageEntry]) -> list[Finding]:
    """Return findings on identical files and on near duplicates.

    Args:
        entries: the images of all splits, train first.
    """
    by_digest: dict[str, list[ImageEntry]] = {}
    for entry in entries:
        if entry.facts.sound:
            by_digest.setdefault(entry.facts.digest, []).append(entry)
    within: list[_Pair] = []
    across: list[_Pair] = []
    differing: list[_Pair] = []
    for group in by_digest.values():
        for pair in _pairs_with_earlier(group):
            (within if pair[0].split == pair[1].split else across).append(pair)
            if not _same_labels(*pair):
                differing.append(pair)
    findings = [
        _finding(
            "duplicate_images_labels_differ",
            "error",
            "identical to another image, but with different labels",
            "Keep the image with the right labels and remove the other. Otherwise the labels "
            "contradict each other in training.",
            [(pair, _counts(*pair)) for pair in differing],
        ),
        _finding(
            "duplicate_images_across_splits",
            "error",
            "identical to an image of another split (data leakage)",
            "Remove them from one of the splits, preferably from training. Otherwise the model is "
            "tested on training images, and every metric is too high.",
            [(pair, _same_file(*pair)) for pair in across],
        ),
        _finding(
            "duplicate_images",
            "warning",
            "identical to another image of the split",
            "Remove all but one of each. Otherwise they count several times in training and in "
            "every metric.",
            [(pair, _same_file(*pair)) for pair in within],
        ),
    ]
    findings += _near_findings(by_digest)
    return [finding for finding in findings if finding.places]


def _pairs_with_earlier(group: Sequence[ImageEntry]) -> Iterable[_Pair]:
    """Pair each image with the first of its own split, otherwise with the first of all."""
    first_of: dict[str, ImageEntry] = {}
    for entry in group:
        if entry.split in first_of:
            yield entry, first_of[entry.split]
        elif first_of:
            yield entry, group[0]
        first_of.setdefault(entry.split, entry)


def _near_findings(by_digest: Mapping[str, Sequence[ImageEntry]]) -> list[Finding]:
    entries_of = {group[0].path: group for group in by_digest.values()}
    within: list[tuple[_Pair, str]] = []
    across: list[tuple[_Pair, str]] = []
    for pair in near_pairs({path: group[0].facts for path, group in entries_of.items()}):
        detail = (
            f"{pair.distance} of 64 hash bits differ, grey levels correlate by "
            f"{pair.correlation:.3f}"
        )
        # The later one comes first, as for identical files.
        both = product(entries_of[pair.second], entries_of[pair.first])
        combinations = sorted(both, key=lambda two: two[0].split == two[1].split)
        chosen = combinations[0]
        (within if chosen[0].split == chosen[1].split else across).append((chosen, detail))
    return [
        _finding(
            "near_duplicate_images_across_splits",
            "warning",
            "near duplicate of an image of another split (data leakage)",
            "Compare them side by side. Keep images of one scene, such as frames of a video or "
            "tiles of an image, in one split (data.split_groups). Otherwise metrics are higher "
            "than they will be on new images.",
            across,
        ),
        _finding(
            "near_duplicate_images",
            "note",
            "near duplicate of another image of the split",
            "Compare them side by side and remove copies. Otherwise they count several times.",
            within,
        ),
    ]


def _finding(
    kind: str, severity: Severity, title: str, advice: str, pairs: Sequence[tuple[_Pair, str]]
) -> Finding:
    places = tuple(
        Place(one.split, one.name, detail=detail, other=Place(other.split, other.name))
        for (one, other), detail in pairs
    )
    splits = Counter(" / ".join(sorted({one.split, other.split})) for (one, other), _ in pairs)
    figures = {"images": len(places), "by_splits": dict(splits)}
    return Finding(
        kind, severity, f"{counted(len(places), 'image')}: {title}.", advice, places, figures
    )


def _same_file(one: ImageEntry, other: ImageEntry) -> str:
    return "listed twice" if one.path == other.path else "identical files"


def _counts(one: ImageEntry, other: ImageEntry) -> str:
    first, second = len(one.objects), len(other.objects)
    if first == second:
        return f"{first} objects each, but different boxes or classes"
    return f"labelled objects: {first} here, {second} there"


def _same_labels(one: ImageEntry, other: ImageEntry) -> bool:
    """Return whether boxes (to half a pixel) and classes are the same, in any order.

    Masks are not compared.
    """
    left, right = one.objects, other.objects
    if len(left) != len(right):
        return False
    free = np.ones(len(right), dtype=bool)
    for row in left:
        near = np.abs(right[:, 1:] - row[1:]).max(axis=1, initial=0.0) <= _SAME_BOX_PIXELS
        matches = np.flatnonzero(free & near & (right[:, 0] == row[0]))
        if not len(matches):
            return False
        free[matches[0]] = False
    return True
