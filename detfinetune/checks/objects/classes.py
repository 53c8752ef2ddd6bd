"""Check classes: empty, rare, imbalanced, ids off by one, class names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding, Place, Severity
from detfinetune.checks.objects.class_names import check_class_names, class_place, listed
from detfinetune.checks.places import MOST_PLACES, AllObjects, counted
from detfinetune.labels.dataset.ledger import Ledger, LedgerEntry
from detfinetune.labels.dataset.table import LabelTable

FEWEST_OBJECTS = 10
"""A class with fewer training objects is rare."""

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
        ledger: rejected class ids in it show whether ids are off by one.
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
    """Return the labels that were rejected for their class id, by that id."""
    found: dict[int, list[LedgerEntry]] = defaultdict(list)
    for entry in ledger.entries:
        if entry.action == "rejected" and (match := _OUT_OF_RANGE.search(entry.reason)):
            found[int(match["number"])].append(entry)
    return dict(found)


def _shifted(
    counts: NDArray[np.int64], classes: Sequence[str], ledger: Ledger | None
) -> Finding | None:
    """Find class ids that are off by one: one end of the list is empty, the other is exceeded."""
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
        f"Rerun with data.first_class={right_first}."
        if right_first in (0, 1)
        else "Add the missing class at the start of the list (data.classes)."
    )
    return Finding(
        "class_ids_off_by_one",
        "error",
        f"Class ids are off by one: '{classes[empty]}' (id {first + empty}) has no object, "
        f"and {counted(len(entries), 'label has', 'labels have')} id {number}.",
        f"{option} As read now, every object has the class next to its own: objects called "
        f"'{classes[example]}' are '{classes[meant]}'.",
        tuple(
            Place(
                entry.split, entry.image, entry.path, entry.line,
                f"class id {number}: {entry.text}", annotation=entry.annotation,
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
        "Remove them from the list (data.classes), unless labels will follow. The mean AP leaves "
        "them out, but the model can still predict them."
    )
    if empty[0] == 0 and len(empty) < len(classes):
        advice += (
            f" '{classes[0]}' is the first of the list: if class ids start at 1, rerun with "
            "data.first_class=1."
        )
    return Finding(
        "empty_class",
        "warning",
        f"{counted(len(empty), 'class has', 'classes have')} no object: "
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
        "rare_class",
        "warning",
        f"{counted(len(rare), 'class has', 'classes have')} fewer than {FEWEST_OBJECTS} training "
        f"objects: {listed([f'{name} ({count})' for name, count in figures.items()])}.",
        "Label more objects, merge the class with a similar one, or remove it. Otherwise its AP "
        "will be near 0 and lower the mean.",
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
        f"'{classes[most]}' has {ratio:.0f} times as many training objects as "
        f"'{classes[least]}' ({in_training[most]:,} and {in_training[least]:,}).",
        "Training shows images with a class that few images have more often "
        "(solver.repeat_threshold). Compare AP by class, not only the mean.",
        (),
        {
            "ratio": round(float(ratio), 1),
            "objects": {classes[index]: int(in_training[index]) for index in range(len(classes))},
        },
    )
