"""Which label file belongs to which image, and which image an entry of a list means."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from detfinetune.labels.image_sizes import is_image


@dataclass(frozen=True)
class Matched:
    """Which image has which label file."""

    label_of: dict[str, str]
    """Label key by image name."""

    twins: dict[str, str]
    """Images that are left out, each with the one that has their label."""


def match_labels(names: list[str], keys: Iterable[str]) -> Matched:
    """Match image names with label keys: by whole path, else by a file name that is unique."""
    keys = set(keys)
    label_of: dict[str, str] = {}
    owner: dict[str, str] = {}
    twins: dict[str, str] = {}
    for name in names:
        # `a.jpg` has the label `a.txt`, or else `a.jpg.txt`.
        own_keys = (label_key(name), unicodedata.normalize("NFC", name))
        own = next((key for key in own_keys if key in keys), None)
        if own is None:
            continue
        if own in owner:
            twins[name] = owner[own]
        else:
            label_of[name], owner[own] = own, name
    free = [name for name in names if name not in label_of and name not in twins]
    name_of = _unique((label_key(name).rpartition("/")[2], name) for name in free)
    key_of = _unique((key.rpartition("/")[2], key) for key in sorted(keys - set(owner)))
    for stem, key in key_of.items():
        if stem in name_of:
            label_of[name_of[stem]] = key
    return Matched(label_of, twins)


def label_key(name: str) -> str:
    """Return a relative path without its ending, in Unicode's composed form."""
    name = unicodedata.normalize("NFC", name)
    stem, dot, _ = name.rpartition(".")
    # A dot in a folder's name, or at the start of the file's, begins no ending.
    is_ending = dot and stem and not stem.endswith("/") and "/" not in name[len(stem) :]
    return stem if is_ending else name


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs whose first part is there once."""
    pairs = list(pairs)
    counts = Counter(first for first, _ in pairs)
    return {first: second for first, second in pairs if counts[first] == 1}


class NameFinder:
    """Finds the image that an entry of a list means: a path, a name, with or without ending."""

    def __init__(self, names: list[str]) -> None:
        self.exact = {unicodedata.normalize("NFC", name): name for name in names}
        self.by_key = {label_key(name): name for name in reversed(names)}
        self.by_name = {PurePosixPath(name).name: name for name in reversed(names)}
        self.by_stem = {PurePosixPath(label_key(name)).name: name for name in reversed(names)}

    def __call__(self, entry: str) -> str | None:
        entry = unicodedata.normalize("NFC", entry.replace("\\", "/")).removeprefix("./")
        # Pascal VOC's lists of one class end in 1, 0 or -1.
        for text in (entry, re.sub(r"\s+(-1|0|1)$", "", entry)):
            last = PurePosixPath(text).name
            stem = PurePosixPath(label_key(last)).name if is_image(Path(last)) else last
            for table, key in (
                (self.exact, text), (self.by_key, text), (self.by_name, last), (self.by_stem, stem)
            ):  # fmt: skip
                if key in table:
                    return table[key]
        return None
