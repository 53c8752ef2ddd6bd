"""Which image a list means by each of its entries, and what either side lacks."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from detfinetune.labels.discovery.match_images import label_key


@dataclass(frozen=True)
class ListedImages:
    """Images and the entries of a list that mean them."""

    listed_as: dict[str, str]
    """Entry by image."""

    missing: tuple[str, ...]
    """Entries that mean no image, in the list's order."""

    unlisted: tuple[str, ...]
    """Images that no entry means, in the images' order."""


def match_listed(entries: Sequence[str], names: Sequence[str]) -> ListedImages:
    """Match entries of a list with images, each with at most one.

    The whole path decides; of what is left over, the file name where it is there once on either
    side; of what is left then, the file name without its ending, likewise.

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
        if not free_entries or not free_names:
            break
        by_key = _once(free_names, key)
        found = {
            by_key[text]: entry
            for text, entry in _once(free_entries, key).items()
            if text in by_key
        }
        listed_as |= found
        taken = set(found.values())
        free_entries = [entry for entry in free_entries if entry not in taken]
        free_names = [name for name in free_names if name not in found]
    return ListedImages(listed_as, tuple(free_entries), tuple(free_names))


def _once(texts: list[str], key: Callable[[str], str]) -> dict[str, str]:
    """Return texts by key, without those that share their key with another."""
    found: dict[str, str] = {}
    shared = set()
    for text in texts:
        if found.setdefault(key(text), text) != text:
            shared.add(key(text))
    return {text: found[text] for text in found if text not in shared}
