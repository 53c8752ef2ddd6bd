"""Check class names: duplicates, typos, and names that are no class."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.findings import Finding, Place
from detfinetune.checks.places import MOST_PLACES, AllObjects, counted, percent

_MOST_NAMED = 10
_TYPO_SHARE = 0.2
"""A name one letter off another is a typo if it has at most this share of the other's objects."""

# Between digits a separator counts: class_1_1 is not class_11.
_SEPARATORS = re.compile(r"(?<!\d)[\s_\-./]+|[\s_\-./]+(?!\d)")
_LONG_WORD = re.compile(r"[^\W\d_]{6,}")
"""In shorter words another letter makes another word: cat, car."""

_NUMBER_ONLY = re.compile(r"(class|label|category|id|obj|object)?[\s_\-]*\d+", re.I)
_PLACEHOLDERS = frozenset(
    {
        "unknown", "none", "todo", "undefined", "null", "nan", "na", "unlabeled", "unlabelled",
        "default", "dummy", "background", "ignore", "dontcare",
    }
)  # fmt: skip


def check_class_names(
    objects: AllObjects, counts: NDArray[np.int64], classes: Sequence[str], classes_from: str
) -> list[Finding]:
    """Return findings about class names.

    Args:
        objects: of all splits.
        counts: objects of each class without crowd regions; (classes,).
        classes: names by contiguous class id.
        classes_from: the file or key that gave the names, if any did.
    """
    duplicates = _groups([{_normalized(name)} for name in classes])
    known = {pair for group in duplicates for pair in combinations(group, 2)}
    typos = [
        (a, b)
        for a, b in _groups([set(_misspellings(name.casefold())) for name in classes], pairs=True)
        if (a, b) not in known
        and min(counts[a], counts[b]) <= _TYPO_SHARE * max(counts[a], counts[b])
    ]
    found = []
    if duplicates:
        figures, places = _spellings(duplicates, objects, counts, classes, classes_from)
        found.append(
            Finding(
                "duplicate_class_name",
                "warning",
                f"{counted(len(duplicates), 'class is', 'classes are')} spelled in several ways: "
                f"{listed(figures)}.",
                "Use one spelling in the labels. Otherwise each class counts the other's objects "
                "as false positives, in training and in AP.",
                places,
                {"groups": [[classes[index] for index in group] for group in duplicates]},
            )
        )
    if typos:
        figures, places = _spellings(typos, objects, counts, classes, classes_from)
        found.append(
            Finding(
                "class_name_typo",
                "note",
                f"{counted(len(typos), 'class name')} may be a typo: {listed(figures)}.",
                "If so, correct the labels. Otherwise ignore this note.",
                places,
                {"groups": [[classes[index] for index in pair] for pair in typos]},
            )
        )
    return [*found, *_names_without_meaning(objects, counts, classes, classes_from)]


def _normalized(name: str) -> str:
    """Return a name without case, accents, separators and plural s."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = _SEPARATORS.sub("", plain) or name
    return plain[:-1] if len(plain) > 3 and re.search(r"[^sui]s$", plain) else plain


def _misspellings(name: str) -> Iterator[str]:
    """Yield a name, and its forms without one letter of a long word; the first letter stays."""
    yield name
    for word in _LONG_WORD.finditer(name):
        for at in range(word.start() + 1, word.end()):
            yield name[:at] + name[at + 1 :]


def _groups(keys: Sequence[set[str]], *, pairs: bool = False) -> list[tuple[int, ...]]:
    """Return indices that share a key, as whole groups or as pairs."""
    holders: dict[str, list[int]] = defaultdict(list)
    for index, own in enumerate(keys):
        for key in own:
            holders[key].append(index)
    groups = {tuple(group) for group in holders.values() if len(group) > 1}
    if pairs:
        groups = {pair for group in groups for pair in combinations(group, 2)}
    return sorted(groups)


def _spellings(
    groups: Sequence[Sequence[int]],
    objects: AllObjects,
    counts: NDArray[np.int64],
    classes: Sequence[str],
    classes_from: str,
) -> tuple[list[str], tuple[Place, ...]]:
    """Return the names of each group, the most frequent first, and the places of the others."""
    names = []
    places: list[Place] = []
    for group in groups:
        usual, *rest = sorted(group, key=lambda index: (-counts[index], index))
        names.append(" / ".join(f"{classes[i]} ({counts[i]:,})" for i in (usual, *rest)))
        places += [class_place(i, classes, classes_from, f"see '{classes[usual]}'") for i in rest]
        for index in rest:
            detail = f"'{classes[index]}' here, '{classes[usual]}' elsewhere"
            of_class = np.flatnonzero(objects.categories == index)
            places += [objects.place(at, detail) for at in of_class[:MOST_PLACES].tolist()]
    return names, tuple(places[:MOST_PLACES])


def _names_without_meaning(
    objects: AllObjects, counts: NDArray[np.int64], classes: Sequence[str], classes_from: str
) -> list[Finding]:
    numbers = [i for i, name in enumerate(classes) if _NUMBER_ONLY.fullmatch(name.strip())]
    empty = [i for i, name in enumerate(classes) if _is_placeholder(name)]
    found = []
    if numbers:
        found.append(
            Finding(
                "numeric_class_name",
                "note",
                f"{counted(len(numbers), 'class has', 'classes have')} a number for a name: "
                f"{listed([classes[index] for index in numbers])}.",
                "Give the names in the order of the ids: data.classes=[first,second] or "
                "data.classes=FILE. With numbers, a wrong order goes unnoticed.",
                tuple(class_place(i, classes, classes_from, classes[i]) for i in numbers),
                {"classes": [classes[index] for index in numbers]},
            )
        )
    if empty:
        share = counts[empty].sum() / max(counts.sum(), 1)
        of_them = np.flatnonzero(np.isin(objects.categories, empty))
        found.append(
            Finding(
                "placeholder_class",
                "warning" if share > 0 else "note",
                f"{counted(len(empty), 'class name')} {'is' if len(empty) == 1 else 'are'} not "
                f"an object: {listed([classes[index] for index in empty])} "
                f"({percent(share)} of objects).",
                "Give these objects their class, or remove them. Mark regions to ignore as crowd "
                "(iscrowd). Detectors have a background class of their own; do not add one.",
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


def _is_placeholder(name: str) -> bool:
    letters = "".join(letter for letter in name.lower() if letter.isalnum())
    return not letters or letters in _PLACEHOLDERS


def class_place(index: int, classes: Sequence[str], classes_from: str, detail: str) -> Place:
    """Return the class's line in a file with one name a line, otherwise the file or key."""
    line = index + 1 if classes_from.lower().endswith((".txt", ".names", ".labels")) else 0
    return Place(
        label_file=classes_from, line=line, detail=f"class '{classes[index]}': {detail}",
        category=index,
    )  # fmt: skip


def listed(texts: Sequence[str]) -> str:
    """Return the first texts with commas, and how many more there are."""
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(texts[:_MOST_NAMED]) + more
