"""Notes of many label files as few: the same words once, their numbers added."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])", re.ASCII)
_MOST = 10

NoteSums = dict[str, list[int]]
"""By the words of a note, with a gap where each number stands: how many files, then the numbers."""


def add_notes(sums: NoteSums, notes: Iterable[str]) -> None:
    """Add the notes of a file."""
    for note in notes:
        numbers = [1, *map(int, _NUMBER.findall(note))]
        words = _NUMBER.sub("\0", note)
        sums[words] = [
            a + b for a, b in zip(sums.get(words, [0] * len(numbers)), numbers, strict=True)
        ]


def join_sums(parts: Iterable[NoteSums]) -> NoteSums:
    """Return the sums of several runs of files."""
    joined: NoteSums = {}
    for part in parts:
        for words, numbers in part.items():
            before = joined.get(words, [0] * len(numbers))
            joined[words] = [a + b for a, b in zip(before, numbers, strict=True)]
    return joined


def summed_notes(sums: NoteSums) -> list[str]:
    """Return the notes in words, those of most files first."""
    ranked = sorted(sums.items(), key=lambda item: (-item[1][0], item[0]))
    notes = []
    for words, (files, *numbers) in ranked[:_MOST]:
        text = words
        for number in numbers:
            text = text.replace("\0", str(number), 1)
        notes.append(f"{text} (in {files} label file{'s' * (files != 1)})")
    if len(ranked) > _MOST:
        notes.append(f"{len(ranked) - _MOST} more kinds of remarks on label files")
    return notes
