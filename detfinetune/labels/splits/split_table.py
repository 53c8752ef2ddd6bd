"""A split as a table for the console, so that everybody sees whether it is balanced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detfinetune import console

_NAMES_SHOWN = 5


@dataclass(frozen=True)
class _Line:
    """What is divided: objects of a class, images."""

    name: str
    counts: tuple[int, ...]
    """In each split."""

    is_class: bool

    @property
    def total(self) -> int:
        return sum(self.counts)

    def deviations(self, shares: Sequence[float]) -> list[float]:
        """Return share minus wanted share for each split, in points of a hundred."""
        return [
            100 * (count / self.total - share)
            for count, share in zip(self.counts, shares, strict=True)
        ]


def split_table(
    class_counts: NDArray[np.int64],
    classes: Sequence[str],
    splits: Mapping[str, Sequence[int]],
    fractions: Mapping[str, float],
    *,
    most_classes: int = 30,
) -> str:
    """Return a table of the objects of each class in each split, with their shares.

    Below it stand the largest deviation from the wanted share, among what is frequent enough that
    the smallest split should have one, and the classes that a split lacks.

    Args:
        class_counts: objects of each class in each image; (images, classes).
        classes: names of the classes.
        splits: image indices by split, as `assign_splits` returns them.
        fractions: wanted share of each split but train, as `assign_splits` takes them.
        most_classes: of more, those that deviate most are shown.
    """
    wanted = {name: share for name, share in fractions.items() if share > 0 or name in splits}
    rest = {"train": 1.0 - sum(wanted.values())}
    shares = {name: (rest | wanted)[name] for name in dict.fromkeys(["train", *wanted])}
    lines = _lines(class_counts, classes, [splits.get(name, ()) for name in shares])
    values = list(shares.values())
    shown = [line for line in lines if line.is_class]
    left_out = len(shown) - most_classes
    if left_out > 0:
        ranked = sorted(shown, key=lambda line: -_largest(line, values))[:most_classes]
        shown = [line for line in shown if line in ranked]
    shown += [line for line in lines if not line.is_class]
    rows = [_row(line) for line in shown]
    headers = ["objects of", "all"]
    for name, share in shares.items():
        headers += [name, f"% ({100 * share:.3g})"]
    parts = [console.table(rows, headers)]
    if left_out > 0:
        parts.append(f"... and {left_out} more classes, which deviate less.")
    parts += _remarks(lines, list(shares), values)
    return "\n".join(parts)


def _lines(
    class_counts: NDArray[np.int64], classes: Sequence[str], parts: Sequence[Sequence[int]]
) -> list[_Line]:
    """Return what is divided, in the order of the table."""
    indices = [np.array(part, dtype=np.int64) for part in parts]
    sums = [class_counts[index].sum(axis=0).tolist() for index in indices]
    empty = class_counts.sum(axis=1) == 0
    lines = [
        _Line(name, tuple(held[number] for held in sums), True)
        for number, name in enumerate(classes)
    ]
    lines.append(_Line("images", tuple(len(part) for part in parts), False))
    if empty.any():
        negatives = tuple(int(empty[index].sum()) for index in indices)
        lines.append(_Line("images without objects", negatives, False))
    return lines


def _row(line: _Line) -> list[Any]:
    cells: list[Any] = [line.name if line.is_class else f"({line.name})", line.total]
    for count in line.counts:
        cells += [count, 100 * count / line.total if line.total else None]
    return cells


def _largest(line: _Line, shares: Sequence[float]) -> float:
    return max(map(abs, line.deviations(shares))) if line.total else 0.0


def _remarks(lines: Sequence[_Line], names: Sequence[str], shares: Sequence[float]) -> list[str]:
    """Return the lines below the table."""
    smallest = min(share for share in shares if share > 0)
    frequent = [line for line in lines if line.total * smallest >= 1]
    remarks = []
    if frequent:
        line = max(frequent, key=lambda line: _largest(line, shares))
        points = line.deviations(shares)
        part = max(range(len(points)), key=lambda part: abs(points[part]))
        remarks.append(
            f"Largest deviation from the wanted share: {abs(points[part]):.1f} points "
            f"({line.name} in {names[part]}: {line.counts[part]} of {line.total}, wanted "
            f"{100 * shares[part]:.3g} %)."
        )
    for part, name in enumerate(names):
        lacking = [
            line.name for line in lines if line.is_class and line.total and not line.counts[part]
        ]
        if lacking:
            more = len(lacking) - _NAMES_SHOWN
            listed = ", ".join(lacking[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
            remarks.append(f"Not in {name}: {listed}.")
    return remarks
