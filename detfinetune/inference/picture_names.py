"""Names of the pictures of a prediction."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from pathlib import PurePosixPath


def picture_names(names: Sequence[str]) -> dict[str, str]:
    """Return a JPEG's name for each image: its own with another suffix where no other has that.

    No two are equal, nor become so where a file system ignores case.
    """
    stems = {name: PurePosixPath(name).with_suffix("").as_posix() for name in names}
    counts = Counter(map(_folded, stems.values()))
    # A picture cannot have the name of a folder either.
    taken = {_folded(str(folder)) for name in names for folder in PurePosixPath(name).parents}
    pictures = {}
    for name, stem in stems.items():
        own = [stem] if counts[_folded(stem)] == 1 else []
        options = chain(own, [name], (f"{name}-{number}" for number in count(2)))
        picture = next(
            f"{option}.jpg" for option in options if _folded(f"{option}.jpg") not in taken
        )
        taken.add(_folded(picture))
        pictures[name] = picture
    return pictures


def _folded(name: str) -> str:
    """Return what file systems compare that ignore case and how accents are written."""
    return unicodedata.normalize("NFC", name).casefold()
