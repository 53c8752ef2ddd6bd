"""Match images with label files by name, and the entries of a list with images."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from operator import eq
from pathlib import Path, PurePosixPath

from detfinetune.labels.discovery.folders import IMAGE_FOLDERS, swap_part
from detfinetune.labels.images.sizes import is_image


@dataclass(frozen=True)
class Matched:
    """The label file of each image."""

    label_of: dict[str, str]
    """Label key by image name."""

    sharing: dict[str, str]
    """Ignored images, each with the one that has their label file."""

    ambiguous: tuple[str, ...]
    """Images without a label file, but one of their name may be theirs."""

    other_case: tuple[str, ...]
    """Images whose label file has their name in other upper and lower case."""


def match_labels(names: Sequence[str], keys: Iterable[str]) -> Matched:
    """Match image names with label keys.

    By whole path, or with `labels` for the image folder's name (`images/a/1` and `labels/a/1`);
    else by a file name that is unique, where the label file's folder holds no images itself; else
    likewise, but in any case of letters.
    """
    keys = set(keys)
    own_key = {name: label_key(name) for name in names}
    label_of: dict[str, str] = {}
    owner: dict[str, str] = {}
    sharing: dict[str, str] = {}
    places = {key.rpartition("/")[0] for key in own_key.values()}
    swapped = {
        place: (swap_part(Path(place), IMAGE_FOLDERS, "labels") or Path(place)).as_posix()
        for place in places
    }

    def own_keys(name: str) -> tuple[str, str, str]:
        place, _, stem = own_key[name].rpartition("/")
        # `a.jpg` has the label `a.txt`, or else `a.jpg.txt`.
        return own_key[name], unicodedata.normalize("NFC", name), f"{swapped[place]}/{stem}"

    for name in names:
        own = next((key for key in own_keys(name) if key in keys), None)
        if own is None:
            continue
        if own in owner:
            sharing[name] = owner[own]
        else:
            label_of[name], owner[own] = own, name
    of_images = (places | set(swapped.values())) - {""}
    loose = [key for key in sorted(keys - set(owner)) if key.rpartition("/")[0] not in of_images]
    free = [name for name in names if name not in label_of and name not in sharing]
    name_of = _unique((own_key[name].rpartition("/")[2], name) for name in free)
    key_of = _unique((key.rpartition("/")[2], key) for key in loose)
    label_of |= {name_of[stem]: key for stem, key in key_of.items() if stem in name_of}
    unmatched = [name for name in free if name not in label_of]
    left = keys - set(label_of.values())
    name_of = _unique(
        (text, name) for name in unmatched for text in {key.casefold() for key in own_keys(name)}
    ) | _unique((f"*{own_key[name].rpartition('/')[2].casefold()}", name) for name in unmatched)
    key_of = _unique(
        (f"*{key.rpartition('/')[2].casefold()}", key) for key in loose if key in left
    ) | _unique((key.casefold(), key) for key in sorted(left))
    other_case = {name_of[text]: key for text, key in key_of.items() if text in name_of}
    label_of |= other_case
    unmatched = [name for name in unmatched if name not in label_of]
    stems = {key.rpartition("/")[2] for key in loose}
    ambiguous = tuple(name for name in unmatched if own_key[name].rpartition("/")[2] in stems)
    return Matched(label_of, sharing, ambiguous, tuple(other_case))


def label_key(name: str) -> str:
    """Return a relative path without its suffix, in Unicode's composed form."""
    name = unicodedata.normalize("NFC", name)
    stem, dot, _ = name.rpartition(".")
    # A dot in a folder's name, or at the start of a file's, does not begin a suffix.
    is_suffix = dot and stem and not stem.endswith("/") and "/" not in name[len(stem) :]
    return stem if is_suffix else name


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the pairs whose first part is unique."""
    pairs = list(pairs)
    counts = Counter(first for first, _ in pairs)
    return {first: second for first, second in pairs if counts[first] == 1}


@dataclass(frozen=True)
class ListedImages:
    """Images and the entries of a list that name them."""

    listed_as: dict[str, str]
    """Entry by image."""

    missing: tuple[str, ...]
    """Entries without an image, in the list's order."""

    unlisted: tuple[str, ...]
    """Images without an entry, in the images' order."""


def match_listed(entries: Sequence[str], names: Sequence[str]) -> ListedImages:
    """Match entries of a list with images, each with at most one.

    Whole paths match first; then, of the rest, file names that are unique on both sides; then
    likewise file names without suffix.

    Args:
        entries: paths or names as a file lists them, with forward slashes, none twice.
        names: paths of the images, with forward slashes, none twice.
    """
    keys: tuple[Callable[[str], str], ...] = (
        lambda name: unicodedata.normalize("NFC", name),
        lambda name: PurePosixPath(unicodedata.normalize("NFC", name)).name.strip(),
        lambda name: PurePosixPath(label_key(name.strip())).name,
    )
    listed_as: dict[str, str] = {}
    free_entries, free_names = list(entries), list(names)
    for key in keys:
        image_of = _unique((key(name), name) for name in free_names)
        entry_of = _unique((key(entry), entry) for entry in free_entries)
        found = {image_of[text]: entry for text, entry in entry_of.items() if text in image_of}
        listed_as |= found
        taken = set(found.values())
        free_entries = [entry for entry in free_entries if entry not in taken]
        free_names = [name for name in free_names if name not in found]
    return ListedImages(listed_as, tuple(free_entries), tuple(free_names))


class NameFinder:
    """Finds the image of an entry of a list: a path or a name, with or without suffix.

    An entry with the path of a folder that holds images means an image in there. Else, of several
    images of the name, it is the one that shares the most folders with the entry; if that is not a
    single one, there is none. Case is ignored unless two images differ only in it.
    """

    def __init__(self, names: list[str]) -> None:
        self.exact = {unicodedata.normalize("NFC", name): name for name in names}
        self.by_key = {label_key(name): name for name in reversed(names)}
        self.by_name: dict[str, list[str]] = {}
        self.by_stem: dict[str, list[str]] = {}
        for name in self.exact:
            self.by_name.setdefault(name.rpartition("/")[2], []).append(name)
        for key in dict.fromkeys(map(label_key, names)):
            self.by_stem.setdefault(key.rpartition("/")[2], []).append(key)
        self.folders = {name.rpartition("/")[0] for name in self.exact}
        self.other_case: dict[str, str] = {}
        """Entries by the image that was found for them, where upper and lower case differ."""

    def __call__(self, entry: str) -> str | None:
        """Return the image, or None."""
        name = self._find(entry)
        if name is None and self._in_any_case is not None:
            finder, names = self._in_any_case
            name = names.get(finder._find(entry.casefold()) or "")
            if name is not None:
                self.other_case[name] = entry
        return name

    @cached_property
    def _in_any_case(self) -> tuple[NameFinder, dict[str, str]] | None:
        """Names in lower case, and the images they mean; None if two names are the same then."""
        names = {name.casefold(): image for name, image in self.exact.items()}
        return (NameFinder(list(names)), names) if len(names) == len(self.exact) else None

    def _find(self, entry: str) -> str | None:
        if entry in self.exact:
            return self.exact[entry]
        for text, last, stem in _interpretations(entry):
            if text in self.exact or text in self.by_key:
                return self.exact.get(text) or self.by_key[text]
            for table, key, names in (
                (self.by_name, last, self.exact), (self.by_stem, stem, self.by_key)
            ):  # fmt: skip
                nearest = _nearest(text, self._inside(text, table.get(key, ())))
                if nearest:
                    return names[nearest[0]] if len(nearest) == 1 else None
        return None

    def why_not(self, entry: str) -> str:
        """Return why no image was found for an entry."""
        for text, last, stem in _interpretations(entry):
            named = self.by_name.get(last) or self.by_stem.get(stem) or ()
            if several := self._inside(text, named):
                shown = " and ".join(several[:2])
                return f"'{entry}' could mean any of {len(several)} images, such as {shown}"
        return f"there is no image '{entry}'"

    def _inside(self, entry: str, names: Sequence[str]) -> Sequence[str]:
        """Return the names in the folder of images that an entry's path ends in, if it does."""
        parts = entry.split("/")[:-1]
        paths = ("/".join(parts[start:]) for start in range(len(parts)))
        folder = next((path for path in paths if path in self.folders), None)
        return [n for n in names if folder in (None, n.rpartition("/")[0])]


def _interpretations(entry: str) -> Iterator[tuple[str, str, str]]:
    """Yield what an entry may mean: its path, its last part, and that without suffix."""
    entry = unicodedata.normalize("NFC", entry.replace("\\", "/")).removeprefix("./")
    # Pascal VOC's lists of one class end in 1, 0 or -1.
    for text in (entry, re.sub(r"\s+(-1|0|1)$", "", entry)):
        last = PurePosixPath(text).name
        stem = PurePosixPath(label_key(last)).name if is_image(Path(last)) else last
        yield text, last, stem


def _nearest(entry: str, names: Sequence[str]) -> list[str]:
    """Return the names that share the most folders above the last part with an entry."""
    folders = entry.split("/")[-2::-1]
    common = [sum(takewhile(bool, map(eq, folders, name.split("/")[-2::-1]))) for name in names]
    most = max(common, default=0)
    return [name for name, count in zip(names, common, strict=True) if count == most]
