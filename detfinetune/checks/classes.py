"""Classes that cannot be learned as they are: without objects, rare, doubled, shifted, nameless."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.class_names import check_class_names, class_place, listed
from detfinetune.checks.findings import Finding, Place, Severity
from detfinetune.checks.places import MOST_PLACES, AllObjects, counted
from detfinetune.labels.dataset.ledger import Ledger, LedgerEntry
from detfinetune.labels.dataset.table import LabelTable

FEWEST_OBJECTS = 10
"""Training objects below which a class is called rare; ten boxes rarely teach a detector."""

_UNEVEN, _VERY_UNEVEN = 10.0, 100.0

_OUT_OF_RANGE = re.compile(
    r"class (?P<number>-?\d+) is out of range: the \d+ classes are numbered "
    r"(?P<first>\d+) to (?P<last>\d+)"
)


def check_classes(
    tables: Mapping[str, LabelTable],
    classes: Sequence[str],
    *,
    ledger: Ledger | None = None,
    classes_from: str = "",
) -> list[Finding]:
    """Return every finding about the class list and the number of objects of each class.

    Args:
        tables: by split.
        classes: names by contiguous class id.
        ledger: what became of the labels; its rejected class numbers tell whether ids are shifted.
        classes_from: the file or key that gave the names, if any did.
    """
    objects = AllObjects(tables)
    counts = np.bincount(objects.categories[~objects.crowd], minlength=len(classes))
    train = tables.get("train")
    in_training = (
        np.bincount(train.categories[~train.crowd], minlength=len(classes))
        if train is not None
        else counts
    )
    shifted = _shifted(counts, classes, ledger)
    found = [
        shifted,
        None if shifted else _without_objects(counts, classes, classes_from),
        _rare(objects, in_training, classes),
        _uneven(in_training, classes),
        *check_class_names(objects, counts, classes, classes_from),
    ]
    return [finding for finding in found if finding is not None]


def rejected_class_numbers(ledger: Ledger) -> dict[int, list[LedgerEntry]]:
    """Return the labels that were rejected for their class number, by that number."""
    found: dict[int, list[LedgerEntry]] = defaultdict(list)
    for entry in ledger.entries:
        if entry.action == "rejected" and (match := _OUT_OF_RANGE.search(entry.reason)):
            found[int(match["number"])].append(entry)
    return dict(found)


def _shifted(
    counts: NDArray[np.int64], classes: Sequence[str], ledger: Ledger | None
) -> Finding | None:
    """Find class numbers that are off by one: one end of the list is empty, the other overruns."""
    entries = ledger.entries if ledger is not None else []
    ranges = [match for entry in entries if (match := _OUT_OF_RANGE.search(entry.reason))]
    if len(counts) < 2 or not ranges or ledger is None:
        return None
    first, last = int(ranges[0]["first"]), int(ranges[0]["last"])
    rejected = rejected_class_numbers(ledger)
    if counts[0] == 0 and last + 1 in rejected:
        empty, number, right_first = 0, last + 1, first + 1
    elif counts[-1] == 0 and first - 1 in rejected:
        empty, number, right_first = len(classes) - 1, first - 1, first - 1
    else:
        return None
    entries = rejected[number]
    example = int(np.flatnonzero(counts)[0]) if counts.any() else empty
    meant = example - 1 if right_first > first else example + 1
    option = (
        f"Give data.first_class={right_first}."
        if right_first in (0, 1)
        else "Put the class that is missing in front of the list (data.classes)."
    )
    return Finding(
        "class_ids_shifted",
        "error",
        f"Class ids are off by one: '{classes[empty]}' (number {first + empty}) has no object, "
        f"and {counted(len(entries), 'label has', 'labels have')} number {number}.",
        f"{option} As read now, every object has its neighbour's class: what is called "
        f"'{classes[example]}' is '{classes[meant]}'.",
        tuple(
            Place(
                entry.split, entry.image, entry.path, entry.line,
                f"class number {number}: {entry.text}",
            )
            for entry in entries[:MOST_PLACES]
        ),
        {
            "number": number, "labels": len(entries), "numbered_from": first,
            "should_be_numbered_from": right_first,
        },
    )  # fmt: skip


def _without_objects(
    counts: NDArray[np.int64], classes: Sequence[str], classes_from: str
) -> Finding | None:
    empty = np.flatnonzero(counts == 0).tolist()
    if not empty or not counts.any():
        return None
    advice = (
        "Take them from the list (data.classes) unless objects will come: the mean AP leaves them "
        "out, but detections of them are possible."
    )
    if empty[0] == 0 and len(empty) < len(classes):
        advice += (
            f" '{classes[0]}' is the first of the list: if the labels count classes from 1, give "
            "data.first_class=1."
        )
    return Finding(
        "class_without_objects",
        "warning",
        f"{counted(len(empty), 'class has', 'classes have')} no object at all: "
        f"{listed([classes[index] for index in empty])}.",
        advice,
        tuple(class_place(index, classes, classes_from, "no object") for index in empty),
        {"classes": [classes[index] for index in empty]},
    )


def _rare(
    objects: AllObjects, in_training: NDArray[np.int64], classes: Sequence[str]
) -> Finding | None:
    rare = np.flatnonzero((in_training > 0) & (in_training < FEWEST_OBJECTS))
    if not len(rare):
        return None
    figures = {classes[index]: int(in_training[index]) for index in rare.tolist()}
    in_train = np.array([split == "train" for split in objects.tables])
    splits = np.repeat(np.arange(len(in_train)), [t.num_objects for t in objects.tables.values()])
    wanted = np.isin(objects.categories, rare) & ~objects.crowd
    if in_train.any():
        wanted &= in_train[splits]
    return Finding(
        "class_rare",
        "warning",
        f"{counted(len(rare), 'class has', 'classes have')} fewer than {FEWEST_OBJECTS} objects to "
        f"learn from: {listed([f'{name} ({count})' for name, count in figures.items()])}.",
        "Label more of them, merge the class with a like one, or leave it out; as it is, its AP "
        "will be near 0 and pull the mean down.",
        objects.places(
            np.flatnonzero(wanted),
            lambda i: (
                f"one of {figures[classes[objects.category(i)]]} of {classes[objects.category(i)]}"
            ),
        ),
        {"objects": figures},
    )


def _uneven(in_training: NDArray[np.int64], classes: Sequence[str]) -> Finding | None:
    there = np.flatnonzero(in_training)
    if len(there) < 2:
        return None
    most = int(there[np.argmax(in_training[there])])
    least = int(there[np.argmin(in_training[there])])
    ratio = in_training[most] / in_training[least]
    if ratio < _UNEVEN:
        return None
    severity: Severity = "warning" if ratio >= _VERY_UNEVEN else "note"
    return Finding(
        "class_imbalance",
        severity,
        f"'{classes[most]}' has {ratio:.0f} times as many objects to learn from as "
        f"'{classes[least]}' ({in_training[most]:,} and {in_training[least]:,}).",
        "Repeat images with rare classes in training: solver.repeat_threshold=0.1 (or the share "
        "of images below which a class counts as rare). Look at AP by class, not only at the mean.",
        (),
        {
            "ratio": round(float(ratio), 1),
            "objects": {classes[index]: int(in_training[index]) for index in range(len(classes))},
        },
    )
