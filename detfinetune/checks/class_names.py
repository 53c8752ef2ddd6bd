"""Names of classes: one class under two names, and names that name no class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.class_spelling import same_classes
from detfinetune.checks.findings import Finding, Place, Severity
from detfinetune.checks.places import MOST_PLACES, AllObjects, counted, percent

_MOST_NAMED = 10
_SLIP_SHARE = 0.2
"""A class whose name is one letter off another's is a slip when it has at most this share of the
other's objects."""

_NUMBER_ONLY = re.compile(r"(class|label|category|cls|type|id|obj|object)?[\s_\-]*\d+", re.I)
_NO_CLASS = frozenset(
    {
        "unknown", "none", "todo", "tbd", "undefined", "null", "nan", "na", "nolabel", "unlabeled",
        "unlabelled", "unnamed", "untitled", "tmp", "temp", "default", "dummy", "placeholder",
        "background", "bg", "ignore", "ignored", "ignoredregions", "dontcare", "notset", "novalue",
        "delete", "deleteme", "xxx", "asdf",
    }
)  # fmt: skip


def check_class_names(
    objects: AllObjects, counts: NDArray[np.int64], classes: Sequence[str], classes_from: str
) -> list[Finding]:
    """Return findings about the names alone.

    Args:
        objects: of all splits.
        counts: objects of each class, crowd regions apart; (classes,).
        classes: names by contiguous class id.
        classes_from: the file or key that gave the names, if any did.
    """
    return [
        *_spellings(objects, counts, classes, classes_from),
        *_names_without_meaning(objects, counts, classes, classes_from),
    ]


def _spellings(
    objects: AllObjects, counts: NDArray[np.int64], classes: Sequence[str], classes_from: str
) -> list[Finding]:
    """Find classes that are one by their names; slips of a letter only where one is far rarer."""
    groups: dict[int, set[int]] = {}
    slips = []
    for pair in same_classes(classes):
        few, many = sorted((counts[pair.first], counts[pair.second]))
        if pair.kind != "typing slip":
            joined = groups.get(pair.first, {pair.first}) | groups.get(pair.second, {pair.second})
            groups.update(dict.fromkeys(joined, joined))
        elif few <= _SLIP_SHARE * many:
            slips.append((pair.first, pair.second))
    unique = sorted({tuple(sorted(group)) for group in groups.values()})
    slips = [(a, b) for a, b in slips if b not in groups.get(a, ())]
    finding = partial(_spelling_finding, objects, counts, classes, classes_from)
    twice = finding(
        "class_spelled_twice", "warning", unique, "is written in several ways",
        "are written in several ways",
    )  # fmt: skip
    slip = finding(
        "class_name_slip", "note", slips, "may be a slip of the keyboard",
        "may be slips of the keyboard",
    )  # fmt: skip
    return [found for found, groups_ in ((twice, unique), (slip, slips)) if groups_]


def _spelling_finding(
    objects: AllObjects,
    counts: NDArray[np.int64],
    classes: Sequence[str],
    classes_from: str,
    kind: str,
    severity: Severity,
    groups: Sequence[Sequence[int]],
    one: str,
    many: str,
) -> Finding:
    shown = []
    places: list[Place] = []
    for group in groups:
        by_count = sorted(group, key=lambda index: (-counts[index], index))
        shown.append(" / ".join(f"{classes[i]} ({counts[i]:,})" for i in by_count))
        places += [
            class_place(index, classes, classes_from, f"see '{classes[by_count[0]]}'")
            for index in by_count[1:]
        ]
        rarer = np.flatnonzero(np.isin(objects.categories, by_count[1:]))
        places += objects.places(
            rarer,
            partial(_other_spelling, objects, classes, classes[by_count[0]]),
        )
    return Finding(
        kind,
        severity,
        f"{counted(len(groups), f'class {one}', f'classes {many}')}: {listed(shown)}.",
        "Write each class in one way in the labels. As two classes, each is taught that the "
        "other's objects are wrong, and both are rated down for them.",
        tuple(places[:MOST_PLACES]),
        {"groups": [[classes[index] for index in group] for group in groups]},
    )


def _other_spelling(objects: AllObjects, classes: Sequence[str], usual: str, index: int) -> str:
    return f"'{classes[objects.category(index)]}' here, '{usual}' elsewhere"


def _names_without_meaning(
    objects: AllObjects, counts: NDArray[np.int64], classes: Sequence[str], classes_from: str
) -> list[Finding]:
    numbers = [i for i, name in enumerate(classes) if _NUMBER_ONLY.fullmatch(name.strip())]
    empty = [i for i, name in enumerate(classes) if _means_no_class(name)]
    found = []
    if numbers:
        found.append(
            Finding(
                "class_without_name",
                "note",
                f"{counted(len(numbers), 'class has', 'classes have')} a number for a name: "
                f"{listed([classes[index] for index in numbers])}.",
                "Give the names in the order of the ids: data.classes=[first,second] or "
                "data.classes=FILE. Results are hard to read without, and a wrong order cannot be "
                "noticed.",
                tuple(class_place(i, classes, classes_from, classes[i]) for i in numbers),
                {"classes": [classes[index] for index in numbers]},
            )
        )
    if empty:
        share = counts[empty].sum() / max(counts.sum(), 1)
        of_them = np.flatnonzero(np.isin(objects.categories, empty))
        found.append(
            Finding(
                "class_means_nothing",
                "warning" if share > 0 else "note",
                f"{counted(len(empty), 'class is', 'classes are')} no kind of object by name: "
                f"{listed([classes[index] for index in empty])} ({percent(share)} of objects).",
                "Give these objects their class, or leave them out. What is to be passed over "
                "(ignore, dontcare) belongs into crowd regions; a background class is not needed, "
                "the detector has its own.",
                (
                    *(class_place(i, classes, classes_from, classes[i]) for i in empty),
                    *objects.places(
                        of_them, lambda i: f"object of class '{classes[objects.category(i)]}'"
                    ),
                ),
                {"classes": [classes[index] for index in empty], "share": round(float(share), 4)},
            )
        )
    return found


def _means_no_class(name: str) -> bool:
    letters = "".join(letter for letter in name.lower() if letter.isalnum())
    return not letters or letters in _NO_CLASS


def class_place(index: int, classes: Sequence[str], classes_from: str, detail: str) -> Place:
    """Return the class's line in a file that has one name a line, else the file or key."""
    line = index + 1 if classes_from.lower().endswith((".txt", ".names", ".labels")) else 0
    return Place(
        label_file=classes_from, line=line, detail=f"class '{classes[index]}': {detail}",
        category=index,
    )  # fmt: skip


def listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(texts[:_MOST_NAMED]) + more
